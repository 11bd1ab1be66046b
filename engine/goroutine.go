package engine

import (
	"bytes"
	"errors"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/symbols"
)

// Goroutines that Go's runtime has preempted by a signal come back to where that
// was, on any thread, later: in the middle of what a jump is to displace, too.
// The runtime does that to no goroutine in the stack check that most functions
// begin with (cmd/internal/obj, StartUnsafePoint); of others, the goroutines'
// stacks are looked at.

// goStackCheck is cmp 16(R14), RSP, the first instruction of that check on amd64,
// where most functions have no other. On arm64 a jump displaces one instruction: there
// is no middle.
var goStackCheck = []byte{0x49, 0x3b, 0x66, 0x10}

var (
	errGoroutines    = errors.New("a goroutine may be parked where the jump would lie: the file has no symbol table that tells")
	errGoroutineMany = errors.New("a goroutine may be parked where the jump would lie: too many to look at")
)

// goSignalStack is how large the stacks are on which Go handles signals, bytes.
const goSignalStack = 32 << 10

// maxGoroutines is how many goroutines are looked at in a pause.
const maxGoroutines = 5000

// mayPark is whether goroutines may be parked in the middle of what a jump of a
// module displaces.
func mayPark(m *symbols.Module, up *breakpoint.Upgrade) bool {
	return m != nil && m.File.IsGo() && up.Splits() && !bytes.HasPrefix(up.Displaced(), goStackCheck)
}

// Words of the kernel's struct ucontext, which it leaves on the stack that a
// signal is handled on (asm/ucontext.h, asm/sigcontext.h).
const ucStack = 2 // ss_sp; ss_size is two behind

var ucPC = map[bool]int{true: 21, false: 55}[ptrace.OnePC]

// interrupted are the places that signals have interrupted, if the words are
// those of the stack on which Go handles them, from sp on: of all that may look
// so behind that stack's end, those that name a stack that sp lies in.
func interrupted(words []uint64, sp arch.Addr) (list []uint64) {
	for i := ucPC; i < len(words); i++ {
		uc := words[i-ucPC:]
		from, size := uc[ucStack], uc[ucStack+2]
		if sp := uint64(sp); sp >= from && sp-from < size {
			list = append(list, words[i])
		}
	}
	return list
}

// goroutine is the stack of one, as it is at a halt.
type goroutine struct {
	lo, hi arch.Addr
	sp     arch.Addr // of one without a thread
	runs   bool      // on a thread
}

// Where things are in the runtime's g (runtime/runtime2.go, Go 1.5 to 1.26).
const (
	gStackLo = 0
	gStackHi = 8
	gM       = 48
	gSP      = 56
	gSize    = 64
)

// allGoroutines is where a Go module's runtime has the list of them, as the file
// is linked.
func allGoroutines(m *symbols.Module) (arch.Addr, bool) {
	if !m.File.IsGo() {
		return 0, false
	}
	return m.File.Variable("runtime.allgs")
}

// goroutines are those of a Go module.
func (s *session) goroutines(space *inferior.Space, m *symbols.Module) (list []goroutine, err error) {
	at, ok := allGoroutines(m)
	if !ok {
		return nil, errGoroutines
	}
	var slice [16]byte
	if err := space.Memory.Read(at+m.Bias, slice[:]); err != nil {
		return nil, err
	}
	n := le64(slice[8:])
	if n > maxGoroutines {
		return nil, errGoroutineMany
	}
	ptrs := make([]byte, 8*n)
	if err := space.Memory.Read(arch.Addr(le64(slice[:])), ptrs); err != nil {
		return nil, err
	}
	for ; len(ptrs) > 0; ptrs = ptrs[8:] {
		var b [gSize]byte
		if err := space.Memory.Read(arch.Addr(le64(ptrs)), b[:]); err != nil {
			return nil, err
		}
		g := goroutine{lo: arch.Addr(le64(b[gStackLo:])), hi: arch.Addr(le64(b[gStackHi:])),
			sp: arch.Addr(le64(b[gSP:])), runs: le64(b[gM:]) != 0}
		if g.hi > g.lo { // one that has ended has none
			list = append(list, g)
		}
	}
	return list, nil
}

// words are those of a goroutine's stack that are in use, while its thread is
// halted with one of the stack pointers.
func (g *goroutine) words(space *inferior.Space, sps []arch.Addr) []uint64 {
	from := g.lo // its thread may be on another stack
	if !g.runs && g.sp >= g.lo && g.sp <= g.hi {
		from = g.sp
	}
	for _, sp := range sps {
		if sp >= g.lo && sp < g.hi {
			from = sp
		}
	}
	return readWords(space, from, g.hi)
}
