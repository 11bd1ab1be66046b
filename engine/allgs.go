package engine

import (
	"math/bits"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/symbols"
)

// Go's runtime has a list of all goroutines, runtime.allgs. Where the file has no
// symbol that says where (most that are shipped: go build -ldflags=-s), all that may be
// it is taken for it: it is a slice in the program's data, of pointers to what looks
// like goroutines. What is not it, and looks so, does no harm.

// maxGoroutines is how many goroutines are looked at in a pause.
const maxGoroutines = 5000

// maxGoData is how much data is searched for the list in a pause, bytes.
const maxGoData = 16 << 20

// goroutine is the stack of one, as it is at a halt.
type goroutine struct {
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
func readGoroutine(space *inferior.Space, at arch.Addr) (g goroutine, ok bool) {
	var b [gSize]byte
	if at == 0 || at%8 != 0 || space.Memory.Read(at, b[:]) != nil {
		return g, false
	}
	g = goroutine{lo: arch.Addr(le64(b[gStackLo:])), hi: arch.Addr(le64(b[gStackHi:])),
		sp: arch.Addr(le64(b[gSP:])), runs: le64(b[gM:]) != 0}
	size := uint64(g.hi - g.lo)
	return g, (g.lo|g.hi)%8 == 0 && (g.ended() || g.hi > g.lo && size >= minGoStack && bits.OnesCount64(size) == 1)
}

// ended is whether it has no stack.
func (g *goroutine) ended() bool { return g.lo == 0 || g.hi == 0 }

// allGoroutines is where a Go module's runtime has the list of them, as the file
// is linked.
func allGoroutines(m *symbols.Module) (arch.Addr, bool) {
	if !m.File.IsGo() {
		return 0, false
	}
	return m.File.Variable("runtime.allgs")
}

// goroutines are those of a Go module, of a process that is halted.
func goroutines(p *inferior.Process, m *symbols.Module) (list []goroutine, err error) {
	if at, ok := allGoroutines(m); ok {
		var slice [16]byte
		if err := p.Space.Memory.Read(m.Runtime(at), slice[:]); err != nil {
			return nil, err
		}
		return goroutinesOf(p.Space, arch.Addr(le64(slice[:])), le64(slice[8:]))
	}
	return findGoroutines(p, m)
}

// findGoroutines are those of a Go module that does not name the list.
func findGoroutines(p *inferior.Process, m *symbols.Module) (list []goroutine, err error) {
	found := false
	err = eachGoSlice(p.Space, m, func(ptr arch.Addr, n uint64) error {
		switch gs, err := goroutinesOf(p.Space, ptr, n); err {
		case nil:
			list, found = append(list, gs...), found || len(gs) > 0 // some of the runtime's never end
		case errGoroutineMany:
			return err
		}
		return nil
	})
	if err == nil && !found && len(p.Tasks) > 1 { // with one thread nobody has been there to preempt
		err = errGoroutines
	}
	return list, err
}

// goroutinesOf are those of a list of n pointers. One that has just been added may
// not be there yet; it has not run.
func goroutinesOf(space *inferior.Space, ptr arch.Addr, n uint64) (list []goroutine, err error) {
	if n > maxGoroutines {
		return nil, errGoroutineMany
	}
	ptrs := make([]byte, 8*n)
	if err := space.Memory.Read(ptr, ptrs); err != nil {
		return nil, err
	}
	for i := range n {
		g, ok := readGoroutine(space, arch.Addr(le64(ptrs[8*i:])))
		switch {
		case !ok && i < n-1:
			return nil, errGoroutines
		case ok && !g.ended():
			list = append(list, g)
		}
	}
	return list, nil
}

// eachGoSlice finds the slices in a module's data that may be a list of goroutines: a
// thread that is halted while it adds one has raised the length, at most.
func eachGoSlice(space *inferior.Space, m *symbols.Module, yield func(ptr arch.Addr, n uint64) error) error {
	for _, r := range m.File.Data() {
		if r.End-r.Start > maxGoData {
			return errGoroutines
		}
		start, end := m.Runtime(r.Start+7)&^7, m.Runtime(r.End)
		data := make([]byte, max(end, start)-start)
		if err := space.Memory.Read(start, data); err != nil {
			return err
		}
		for ; len(data) >= 24; data = data[8:] {
			ptr, n, most := arch.Addr(le64(data)), le64(data[8:]), le64(data[16:])
			if ptr == 0 || ptr%8 != 0 || n == 0 || most == 0 || most > 1<<32 || n > most+1 {
				continue
			}
			if n = min(n, most); !listsGoroutines(space, ptr, n) {
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
func listsGoroutines(space *inferior.Space, ptr arch.Addr, n uint64) bool {
	var b [8 * 4]byte
	ptrs := b[:8*min(n, 4)]
	if space.Memory.Read(ptr, ptrs) != nil {
		return false
	}
	for i := uint64(0); i < n && len(ptrs) > 0; i, ptrs = i+1, ptrs[8:] {
		if _, ok := readGoroutine(space, arch.Addr(le64(ptrs))); !ok && (i == 0 || i < n-1) {
			return false
		}
	}
	return true
}
