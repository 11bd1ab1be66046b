package ptrace

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"sync"
	"syscall"

	"github.com/ptracer/ptracer/arch"
)

// A program inherits the set of ignored signals. Go's runtime installs handlers for most signals
// before any code of a Go program runs, and an exec resets those to the default (execve(2)). Only
// the runtime knows which signals were ignored when this process started: it keeps them in a
// variable (fwdSig, runtime/signal_unix.go), and reports SIGHUP, SIGINT and a few others that it
// has no handler for (os/signal.Ignored). So ptracer reads the variable, with the symbol table of
// this process's own file.

// IgnoredAtStart returns the signals that were ignored when this process started, bit n-1 for
// signal n. If the process's file has no symbols, it returns only the few that os/signal reports.
var IgnoredAtStart = sync.OnceValue(func() (mask uint64) {
	const sigIgn, signals = 1, 64
	was := runtimeSignals(1 + signals)
	for n := 1; n <= signals; n++ {
		if n < len(was) && was[n] == sigIgn || signal.Ignored(syscall.Signal(n)) {
			mask |= 1 << (n - 1)
		}
	}
	return mask
})

// runtimeSignals is the runtime's variable, n words of it; nil if it can't be found.
func runtimeSignals(n int) []uint64 {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		return nil
	}
	defer f.Close()
	here := runtime.FuncForPC(reflect.ValueOf(runtimeSignals).Pointer())
	inFile, ok := symbolValue(f, here.Name())
	variable, found := symbolValue(f, "runtime.fwdSig")
	if !ok || !found {
		return nil
	}
	mem, err := OpenMemory(os.Getpid())
	if err != nil {
		return nil
	}
	defer mem.Close()
	b := make([]byte, 8*n)
	if mem.Read(arch.Addr(variable+uint64(here.Entry())-inFile), b) != nil {
		return nil
	}
	words := make([]uint64, n)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return words
}

// symbolValue looks one symbol up without an index of all symbols, which would take longer than the
// rest of the start.
func symbolValue(f *elf.File, name string) (uint64, bool) {
	table, strs := f.Section(".symtab"), f.Section(".strtab")
	if table == nil || strs == nil {
		return 0, false
	}
	syms, err := table.Data()
	names, err2 := strs.Data()
	at := bytes.Index(names, []byte("\x00"+name+"\x00"))
	if err != nil || err2 != nil || at < 0 {
		return 0, false
	}
	for ; len(syms) >= elf.Sym64Size; syms = syms[elf.Sym64Size:] {
		if binary.LittleEndian.Uint32(syms) == uint32(at+1) {
			return binary.LittleEndian.Uint64(syms[8:]), true
		}
	}
	return 0, false
}
