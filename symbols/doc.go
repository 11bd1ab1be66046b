// Package symbols turns names into addresses and addresses into names: what
// is mapped into a process, which functions its ELF objects have, where their
// instructions and exits lie, and what a location as typed by a person means.
//
// Mechanism. A File reads one ELF object through an io.ReaderAt with a reader
// of its own that believes no header: every offset and count is checked
// against the size of the file before memory is taken for it, and what a file
// may cost is bounded (budget.go). Opening reads the headers only. Looking a name up goes through the hash table of .dynsym
// and scans the raw bytes of .symtab; DWARF is never read. The whole table of
// functions is built when somebody asks for all of them, for a glob, or for
// many names one after the other.
//
// Addresses in a File are the file's own (vaddr); a Module says where it lies
// in a process. Everything here may be called from any thread; nothing here
// stops or changes a process: it reads /proc and files, so it must not import
// the engine, breakpoint, or anything that knows ptrace. Instructions are
// decoded by the arch.ISA that the caller passes in.
package symbols
