// Package dwarf reads the debug information of an ELF object: units, entries, names, lines,
// ranges and locations, of DWARF 2 to 5, 32- and 64-bit, split or not, with what dwz has moved to
// another file.
//
// The package is pure: files go in, values come out. It takes memory for what a caller asks for
// and no more: sections stay in their file, or inflated in another one, and a unit is read when an
// entry of it is. A damaged file leads to an error that wraps ErrFormat, never to a panic, and what
// one file may cost is bounded.
//
// Tags and attributes are those of debug/dwarf. Offsets are those of entries in their section;
// addresses are vaddrs, those of the file.
package dwarf
