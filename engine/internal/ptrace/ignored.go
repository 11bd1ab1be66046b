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

// A program inherits which signals are ignored. Go's runtime puts handlers on most of
// them before any code of a Go program runs, and an exec makes those the default
// (execve(2)): what was ignored when this process started is known to the runtime
// alone, which keeps it in a variable (fwdSig, runtime/signal_unix.go) and tells of
// SIGHUP, SIGINT and some that it has no handler on (os/signal.Ignored). So the
// variable is read, by the symbol table of this process's own file.

// IgnoredAtStart are the signals that were ignored when this process started, bit n-1
// for signal n. A process whose file has no symbols knows of some only.
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

// runtimeSignals is the start of the runtime's variable; nil if it can't be found.
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

// symbolValue looks one symbol up without an index of all, which would take longer
// than the rest of a start.
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
