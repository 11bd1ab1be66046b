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
	errGoroutines    = errors.New("a goroutine may be parked where the jump would lie: their list was not found")
	errGoroutineMany = errors.New("a goroutine may be parked where the jump would lie: too many to look at")
)

// goSignalStack is how large the stacks are on which Go handles signals, bytes.
const goSignalStack = 32 << 10

// mayPark is whether goroutines may be parked in the middle of what a jump of a
// module displaces.
func mayPark(m *symbols.Module, up *breakpoint.Upgrade) bool {
	return m != nil && m.File.IsGo() && up.Splits() && !bytes.HasPrefix(up.Displaced(), goStackCheck)
}

// Words of the kernel's struct ucontext, which it leaves on the stack that a
// signal is handled on (asm/ucontext.h, asm/sigcontext.h).
const (
	ucFlags = 0
	ucLink  = 1
	ucStack = 2 // ss_sp; ss_size is two behind
)

var ucPC = map[bool]int{true: 21, false: 55}[ptrace.OnePC]

// signalled are the places that signals have interrupted, if the words are those of a
// stack that these may be handled on: what looks like the kernel's struct ucontext. On
// arm64 more does than is one.
func signalled(words []uint64) (list []uint64) {
	for i := ucPC; i+2 < len(words); i++ {
		uc := words[i-ucPC:]
		if uc[ucFlags] < 8 && uc[ucLink] == 0 && userState(words[i+1], words[i+2]) {
			list = append(list, words[i])
		}
	}
	return list
}

// userState is whether two words behind a PC are those that a task of this
// architecture has there: eflags and the segments; pstate.
func userState(first, second uint64) bool {
	if ptrace.OnePC {
		const userCS, fixed = 0x33, 2 // bit 1 of eflags is always set
		return second&0xffff == userCS && first&fixed != 0 && first>>32 == 0
	}
	const mode = 0x1f // 0: EL0, of 64 bits
	return first&mode == 0 && first>>32 == 0
}

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
