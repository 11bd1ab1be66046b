// Package elffile reads one ELF object: its headers, the parts that it has, its notes, and
// its tables of symbols: .symtab and .dynsym, those of a separate debug file and of
// .gnu_debugdata.
//
// The reader believes no header: every offset and count is checked against the size of the
// file before memory is taken for it, and what a file may cost is bounded (budget.go). A name
// is found by the hash table of .dynsym, or in the raw bytes of the names; DWARF is never
// read. An Object may be used by any number of goroutines.
package elffile
