package symbols

import "github.com/ptracer/ptracer/arch"

// How long the parts of Go's stack check are, at most: bytes up to the branch, the
// instructions behind it up to another one, and bytes that are run when it is taken.
const (
	maxCheck   = 64
	checkGap   = 4
	maxRestart = 512
)

// Body is where each call of fn comes by once: its first instruction, and in Go the
// one behind the stack check that most functions begin with. When that finds too
// little stack, or the runtime wants the goroutine to pause, the function calls
// runtime.morestack and then begins again. At Body all is as at the first
// instruction, but for scratch registers (r12; x16, x17, x27) and the flags.
//
// What tells a check is its form: a branch to what does nothing but call, and jump
// to where fn starts.
func (f *File) Body(isa arch.ISA, fn Function) arch.Addr {
	if !f.IsGo() {
		return fn.Addr
	}
	body, again, since := fn.Addr, arch.Addr(0), 0
	f.straight(isa, fn, fn.Addr, maxCheck, func(in instruction) bool {
		next := in.addr + arch.Addr(in.Len)
		switch {
		case in.Kind == arch.KindBranch && (in.Target == again || again == 0 && in.Target > next && f.beginsAgain(isa, fn, in.Target)):
			body, again, since = next, in.Target, 0
			return true
		case again != 0:
			since++
		}
		return since <= checkGap && (in.Kind == arch.KindOther || in.Kind == arch.KindNop)
	})
	return body
}

// beginsAgain is whether what lies at an address in fn does nothing but call, and
// jump to where fn starts.
func (f *File) beginsAgain(isa arch.ISA, fn Function, at arch.Addr) (again bool) {
	calls := 0
	f.straight(isa, fn, at, maxRestart, func(in instruction) bool {
		switch in.Kind {
		case arch.KindOther, arch.KindNop:
			return true
		case arch.KindCall:
			calls++
			return calls == 1
		case arch.KindJump:
			again = calls == 1 && in.Target == fn.Addr
		}
		return false
	})
	return again
}

// straight decodes up to most bytes of fn from an address on, one instruction
// behind the other, as long as yield says so.
func (f *File) straight(isa arch.ISA, fn Function, at arch.Addr, most int, yield func(instruction) bool) {
	if !fn.Contains(at) {
		return
	}
	code := make([]byte, min(uint64(max(most, 0)), uint64(fn.End()-at)))
	if f.Text(at, code) != nil {
		return
	}
	for len(code) > 0 {
		in, err := isa.Decode(code, at)
		if err != nil || in.Len <= 0 || in.Len > len(code) || !yield(instruction{at, in}) {
			return
		}
		at, code = at+arch.Addr(in.Len), code[in.Len:]
	}
}
