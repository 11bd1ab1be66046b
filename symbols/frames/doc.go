// Package frames reads call frame information, .eh_frame and its index: where pieces of
// code lie, and how to find the caller's frame from an instruction. Both are loaded with
// the program, so that stripped files have them, too.
//
// The rules are worked out by a library that is not made for damaged files: what it is
// given is bounded before (cfa.go), and what it panics about has no row.
package frames
