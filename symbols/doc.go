// Package symbols turns names into addresses and addresses into names: what
// is mapped into a process, which functions its ELF objects have, and where their
// instructions and exits lie.
//
// Mechanism. A File is one ELF object (symbols/elffile). Opening reads the headers
// only. The whole table of functions is built when all of them are asked for, a glob,
// or many names one after the other.
//
// Addresses in a File are the file's own (vaddr); a Module says where it lies
// in a process. Everything here may be called from any thread; nothing here
// stops or changes a process: it reads /proc and files, so it must not import
// the engine, breakpoint, or anything that knows ptrace. Instructions are
// decoded by the arch.ISA that the caller passes in.
package symbols
