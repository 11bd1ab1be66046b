// Package goruntime knows what Go's runtime keeps in a process's memory: its goroutines. It is
// pure, and asks no kernel; the process is halted.
package goruntime

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/unwind"
)

// Memory is a process's memory. Read reads all of buf, or fails.
type Memory interface {
	unwind.Memory
	Read(at arch.Addr, buf []byte) error
}

// Go's runtime has a list of all goroutines, runtime.allgs. Where the file has no
// symbol that says where (most that are shipped: go build -ldflags=-s), all that may be
// it is taken for it: it is a slice in the program's data, of pointers to what looks
// like goroutines. What is not it, and looks so, does no harm.

// maxGoroutines is how many goroutines are looked at in a pause.
const maxGoroutines = 5000

// maxGoData is how much data is searched for the list in a pause, bytes.
const maxGoData = 16 << 20

// Why goroutines are not known.
var (
	ErrUnknown = errors.New("the list of goroutines was not found")
	ErrMany    = errors.New("there are too many goroutines to look at")
)

// SignalStack is how large the stacks are on which Go handles signals, bytes.
const SignalStack = 32 << 10

// stackCheck is cmp 16(R14), RSP, the first instruction of the stack check on amd64,
// where most functions have no other. On arm64 a jump displaces one instruction: there
// is no middle.
var stackCheck = []byte{0x49, 0x3b, 0x66, 0x10}

// BeginsWithCheck reports whether code begins with that check.
func BeginsWithCheck(code []byte) bool { return bytes.HasPrefix(code, stackCheck) }

// Goroutine is the stack of one, as it is at a halt.
type Goroutine struct {
	lo, hi arch.Addr
	sp     arch.Addr // of one without a thread
	runs   bool      // on a thread
}

// Where things are in the runtime's g (runtime/runtime2.go, Go 1.5 to 1.26), and the
// smallest stack; each is a power of two.
const (
	gStackLo = 0
	gStackHi = 8
	gM       = 48
	gSP      = 56
	gSize    = 64

	minGoStack = 2048
)

// readGoroutine reads the g at an address. It is not ok if there is none. Ends are
// written in one instruction, but for those of a goroutine that ends: then one may be 0
// before the other is.
func readGoroutine(memory Memory, at arch.Addr) (g Goroutine, ok bool) {
	var b [gSize]byte
	if at == 0 || at%8 != 0 || memory.Read(at, b[:]) != nil {
		return g, false
	}
	g = Goroutine{lo: arch.Addr(binary.LittleEndian.Uint64(b[gStackLo:])), hi: arch.Addr(binary.LittleEndian.Uint64(b[gStackHi:])),
		sp: arch.Addr(binary.LittleEndian.Uint64(b[gSP:])), runs: binary.LittleEndian.Uint64(b[gM:]) != 0}
	size := uint64(g.hi - g.lo)
	return g, (g.lo|g.hi)%8 == 0 && (g.ended() || g.hi > g.lo && size >= minGoStack && bits.OnesCount64(size) == 1)
}

// ended is whether it has no stack.
func (g *Goroutine) ended() bool { return g.lo == 0 || g.hi == 0 }

// List is where a Go module's runtime has the list of them, as the file
// is linked.
func List(m *symbols.Module) (arch.Addr, bool) {
	if !m.File.IsGo() {
		return 0, false
	}
	return m.File.Variable("runtime.allgs")
}

// Goroutines are those of a Go module, of a process that is halted and has a number of threads.
func Goroutines(memory Memory, threads int, m *symbols.Module) (list []Goroutine, err error) {
	if at, ok := List(m); ok {
		var slice [16]byte
		if err := memory.Read(m.Runtime(at), slice[:]); err != nil {
			return nil, err
		}
		return of(memory, arch.Addr(binary.LittleEndian.Uint64(slice[:])), binary.LittleEndian.Uint64(slice[8:]))
	}
	return Search(memory, threads, m)
}

// Search is Goroutines of a module that does not name their list.
func Search(memory Memory, threads int, m *symbols.Module) (list []Goroutine, err error) {
	found := false
	err = eachGoSlice(memory, m, func(ptr arch.Addr, n uint64) error {
		switch gs, err := of(memory, ptr, n); err {
		case nil:
			list, found = append(list, gs...), found || len(gs) > 0 // some of the runtime's never end
		case ErrMany:
			return err
		}
		return nil
	})
	if err == nil && !found && threads > 1 { // with one thread there was none to preempt it
		err = ErrUnknown
	}
	return list, err
}

// of are those of a list of n pointers. One that has just been added may
// not be there yet; it has not run.
func of(memory Memory, ptr arch.Addr, n uint64) (list []Goroutine, err error) {
	if n > maxGoroutines {
		return nil, ErrMany
	}
	ptrs := make([]byte, 8*n)
	if err := memory.Read(ptr, ptrs); err != nil {
		return nil, err
	}
	for i := range n {
		g, ok := readGoroutine(memory, arch.Addr(binary.LittleEndian.Uint64(ptrs[8*i:])))
		switch {
		case !ok && i < n-1:
			return nil, ErrUnknown
		case ok && !g.ended():
			list = append(list, g)
		}
	}
	return list, nil
}

// eachGoSlice finds the slices in a module's data that may be a list of goroutines: a
// thread that is halted while it adds one has raised the length, at most.
func eachGoSlice(memory Memory, m *symbols.Module, yield func(ptr arch.Addr, n uint64) error) error {
	for _, r := range m.File.Data() {
		if r.End-r.Start > maxGoData {
			return ErrUnknown
		}
		start, end := m.Runtime(r.Start+7)&^7, m.Runtime(r.End)
		data := make([]byte, max(end, start)-start)
		if err := memory.Read(start, data); err != nil {
			return err
		}
		for ; len(data) >= 24; data = data[8:] {
			ptr, n, most := arch.Addr(binary.LittleEndian.Uint64(data)), binary.LittleEndian.Uint64(data[8:]), binary.LittleEndian.Uint64(data[16:])
			if ptr == 0 || ptr%8 != 0 || n == 0 || most == 0 || most > 1<<32 || n > most+1 {
				continue
			}
			if n = min(n, most); !listsGoroutines(memory, ptr, n) {
				continue
			}
			if err := yield(ptr, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// listsGoroutines is whether there are pointers to goroutines, of which the last may
// be missing.
func listsGoroutines(memory Memory, ptr arch.Addr, n uint64) bool {
	var b [8 * 4]byte
	ptrs := b[:8*min(n, 4)]
	if memory.Read(ptr, ptrs) != nil {
		return false
	}
	for i := uint64(0); i < n && len(ptrs) > 0; i, ptrs = i+1, ptrs[8:] {
		if _, ok := readGoroutine(memory, arch.Addr(binary.LittleEndian.Uint64(ptrs))); !ok && (i == 0 || i < n-1) {
			return false
		}
	}
	return true
}

// Has reports whether an address lies in the goroutine's stack.
func (g *Goroutine) Has(sp arch.Addr) bool { return sp >= g.lo && sp < g.hi }

// Words are those of a goroutine's stack that are in use, while its thread is
// halted with one of the stack pointers.
func (g *Goroutine) Words(memory Memory, sps []arch.Addr) []uint64 {
	from := g.lo // its thread may be on another stack
	if !g.runs && g.sp >= g.lo && g.sp <= g.hi {
		from = g.sp
	}
	for _, sp := range sps {
		if g.Has(sp) {
			from = sp
		}
	}
	return unwind.Words(memory, from, g.hi)
}
