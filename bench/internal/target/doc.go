// Package target makes the program that is measured, and runs it: an ELF
// executable of some kilobytes, written here byte by byte for the CPU that it
// is to run on, so that the measuring binary needs neither a compiler nor a
// file beside it.
//
// Mechanism. The program's frame (threads, clock, loops) is written once, in a
// dozen portable instructions that an assembler of its own turns into machine
// code (asm.go, amd64.go, arm64.go, program.go). The functions that are probed
// are machine code of each instruction set by hand, since which instruction a
// probe lies on is what they are about (sites.go). A Process is the program at
// work: it has its threads when a tracer comes, waits for a byte, calls a
// function as often as it was told, and takes the time itself, from the first
// call to the last, so that neither its start nor what others do before and
// after is in the figures. Orders and times lie in memory that both share
// (control.go).
//
// All of it may be used from any goroutine, a Process by one at a time. It
// imports nothing of the module: what is measured knows nothing of who measures.
package target
