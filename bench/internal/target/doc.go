// Package target makes the measured program and runs it: an ELF executable of some kilobytes,
// written byte by byte for the CPU that it runs on, so that the measuring binary needs neither a
// compiler nor another file.
//
// The program's frame (threads, clock, loops) is written once, in a dozen portable instructions
// that an assembler in this package turns into machine code (asm.go, amd64.go, arm64.go,
// program.go). The probed functions are hand-written machine code for each instruction set, since
// their purpose is the instruction that a probe lies on (sites.go). A Process is the running
// program. It has its threads when a tracer attaches, waits for a byte, calls a function as often
// as it was told, and takes the time itself, from the first call to the last, so that the figures
// include neither its start nor what other processes do before and after. Orders and times are in
// shared memory (control.go).
//
// All of it may be used from any goroutine, but a Process by one at a time. The package imports
// nothing of the module: the measured program is independent of the measuring one.
package target
