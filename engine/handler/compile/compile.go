// Package compile turns verified programs into machine code, for both instruction sets on every
// machine.
//
// # Where the code runs
//
// The code runs in a thread of the traced program that came from a probed instruction. It uses the
// thread's registers; the code that enters and leaves it saves and restores the registers in
// Code.Clobbers. The code does not touch vector registers, the program's stack, or the register
// with the program's frame pointer, so that the program's frames can be walked meanwhile.
//
// The frame is memory with room for the context, struct pt_regs as the program sees it: word i of
// arch.Regs is at 8*i, and behind those are the words FrameCookie and FrameFuncIP. Only the words
// in Clobbers and Reads need to be filled in. Loads from a register that still holds the program's
// value become moves. At the end the registers in Clobbers and Writes take their values from the
// frame.
//
// The code is entered in one of two ways (Target.Called):
//
//	inlined: with the stack pointer, on arm64 a multiple of 16, Code.Locals below
//	         the frame; the code ends by running out of its last byte, and the
//	         stack pointer is what it was
//	called:  with the stack pointer at the frame, before a call of the machine,
//	         which pushes the return address below it on amd64
//
// Code.Stack bytes below the frame must be available in either case, and the bytes that helpers
// need. If Code.Locals, Code.Stack and the needed words of the frame are all empty, as for a plain
// counter, the code needs no stack at all.
//
// # What is inlined
//
// Inlined are lookups in arrays and per-CPU arrays, the number of the CPU (if the CPU or the target
// provides it), the cookie and the function's address, and bpf_loop. Everything else is a call of
// one of Target.Helpers.
//
// Unused features cost nothing. A register that a program never sets is not in Clobbers. The stack
// is used only if something is read from it. A lookup with a constant key is an address. A load,
// addition and store of one value of a map are one atomic addition, which is exact with any number
// of threads.
//
// The package is pure: it does no I/O. It imports the form of programs, the verifier's results and
// package arch.
package compile

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile/amd64"
	"github.com/ptracer/ptracer/engine/handler/compile/arm64"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// Types that package plan defines.
type (
	Target  = plan.Target
	Map     = plan.Map
	Code    = plan.Code
	Words   = plan.Words
	Feature = plan.Feature
	Error   = plan.Error
	Helper  = plan.Helper
)

// Features of a target's CPU.
const (
	RDPID  = plan.RDPID
	FSBase = plan.FSBase
	LSE    = plan.LSE
)

// Constants for helpers, which package plan defines.
const (
	NoMap       = plan.NoMap
	FnThread    = plan.FnThread
	FnSelf      = plan.FnSelf
	FnCycles    = plan.FnCycles
	FnScale     = plan.FnScale
	FnSlot      = plan.FnSlot
	FnSyscall   = plan.FnSyscall
	FnOwn       = plan.FnOwn
	FnEntry     = plan.FnEntry
	FnClaim     = plan.FnClaim
	FnStack     = plan.FnStack
	FnProcess   = plan.FnProcess
	FnGoroutine = plan.FnGoroutine
)

// Constants of the table of threads, which package plan defines.
const (
	ThreadFirst = plan.ThreadFirst
	ThreadEntry = plan.ThreadEntry
	ThreadBits  = plan.ThreadBits
	ThreadMul   = plan.ThreadMul
	ThreadSlot  = plan.ThreadSlot
	ThreadStack = plan.ThreadStack
)

// Words of the frame behind the context.
const (
	FrameCookie = plan.FrameCookie
	FrameFuncIP = plan.FrameFuncIP
	FrameWords  = plan.FrameWords
)

// Wrapper makes the code of FnClaim around the helper that finds an entry, for address base; on
// amd64 only. WrapperStack is how much stack the code itself needs, in bytes.
func Wrapper(base, helper arch.Addr) []byte { return amd64.Wrapper(base, helper) }

// WrapperStack: see Wrapper.
const WrapperStack = amd64.WrapperStack

// OwnStack says how threads find ptracer's stacks; package plan defines it.
type OwnStack = plan.OwnStack

// OwnStackSize is the size of each of ptracer's stacks, in bytes; PoolStack that of the PoolStacks
// stacks in a pool.
const (
	OwnStackSize = plan.OwnStackSize
	PoolStack    = plan.OwnStackLevel
	PoolStacks   = plan.PoolStacks
)

// Enter makes the code, for address base, with which a thread finds its stack for the first time:
// wrapper is FnStack's, room is OwnStackSize bytes of memory for the search, and lost the word that
// counts failures. It is for amd64.
func Enter(base, wrapper, room, lost arch.Addr) []byte { return amd64.Enter(base, wrapper, room, lost) }

// EnterPool makes the code with which a thread that has found a stack of a pool taken looks for
// another; lost is the same as for Enter. The code can lie anywhere, and is for arm64.
func EnterPool(pool, lost arch.Addr) []byte { return arm64.Enter(pool, lost) }

// Compile makes r's code for t, for the instruction set of r's context.
func Compile(r *verify.Result, t Target) (*Code, error) {
	var lower func(*plan.Plan) (*plan.Code, error)
	switch r.Context.Arch {
	case "amd64":
		lower = amd64.Compile
	case "arm64":
		lower = arm64.Compile
	default:
		return nil, plan.Refuse(r.Program, 0, "no compiler for %q", r.Context.Arch)
	}
	p, err := plan.Build(r, &t)
	if err != nil {
		return nil, err
	}
	return lower(p)
}
