// Package compile turns verified programs into machine code, of both
// instruction sets on every machine.
//
// # Where the code runs
//
// In a thread of the traced program that came from a probed instruction. The
// code uses its registers; whoever makes the way in and out saves what
// Code.Clobbers says, and gives it back. The code does not touch vector
// registers, the stack of the program, nor the register that holds its frame
// pointer, so that those who walk its frames meanwhile can.
//
// The frame is memory where the context, struct pt_regs as the program sees
// it, has its place: word i of arch.Regs at 8*i, and behind those the words
// FrameCookie and FrameFuncIP. Only the words in Clobbers and Reads need to be
// filled in. Loads from a register that still holds the program's value become
// moves. At the end the registers in Clobbers and Writes take their values from
// the frame.
//
// The code is entered in one of two ways (Target.Called):
//
//	inlined: with the stack pointer, on arm64 a multiple of 16, Code.Locals below
//	         the frame; the code ends by running out of its last byte, and the
//	         stack pointer is what it was
//	called:  with the stack pointer at the frame, before a call of the machine,
//	         which pushes the return address below it on amd64
//
// Code.Stack bytes below the frame must be there in either case, and what the
// helpers need. If Code.Locals, Code.Stack and the words of the frame that are
// needed are none, as for a plain counter, the code needs no stack at all.
//
// # What is inlined
//
// Lookups in arrays and per-CPU arrays, the number of the CPU (where the CPU or
// the target tells it), the cookie and the function's address, bpf_loop.
// Everything else is a call of one of Target.Helpers.
//
// What a program does not use costs nothing: a register that it never sets is
// not in Clobbers; the stack is used where something is read from it; a lookup
// with a constant key is an address; a load, addition and store of one value of
// a map are one atomic addition, which is exact with any number of threads.
//
// Pure: no I/O. It imports the form of programs, the verifier's results and
// package arch.
package compile

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile/amd64"
	"github.com/ptracer/ptracer/engine/handler/compile/arm64"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// The words of the compiler; package plan has them.
type (
	Target  = plan.Target
	Map     = plan.Map
	Code    = plan.Code
	Words   = plan.Words
	Feature = plan.Feature
	Error   = plan.Error
	Helper  = plan.Helper
)

// What a target's CPU may have.
const (
	RDPID  = plan.RDPID
	FSBase = plan.FSBase
	LSE    = plan.LSE
)

// Of helpers; package plan has them.
const (
	NoMap       = plan.NoMap
	FnThread    = plan.FnThread
	FnSelf      = plan.FnSelf
	FnCycles    = plan.FnCycles
	FnScale     = plan.FnScale
	FnLine      = plan.FnLine
	FnSyscall   = plan.FnSyscall
	FnOwn       = plan.FnOwn
	FnEntry     = plan.FnEntry
	FnClaim     = plan.FnClaim
	FnStack     = plan.FnStack
	FnProcess   = plan.FnProcess
	FnGoroutine = plan.FnGoroutine
)

// Of the table of threads; package plan has them.
const (
	ThreadFirst = plan.ThreadFirst
	ThreadEntry = plan.ThreadEntry
	ThreadBits  = plan.ThreadBits
	ThreadMul   = plan.ThreadMul
	ThreadLine  = plan.ThreadLine
	ThreadStack = plan.ThreadStack
)

// Words of the frame behind the context.
const (
	FrameCookie = plan.FrameCookie
	FrameFuncIP = plan.FrameFuncIP
	FrameWords  = plan.FrameWords
)

// Wrapper makes the code of FnClaim around the helper that finds an entry, to lie
// at base; of amd64. WrapperStack is what it needs of the stack itself, in bytes.
func Wrapper(base, helper arch.Addr) []byte { return amd64.Wrapper(base, helper) }

// WrapperStack: see Wrapper.
const WrapperStack = amd64.WrapperStack

// OwnStack is how threads find stacks of ours; package plan has it.
type OwnStack = plan.OwnStack

// OwnStackSize is how large each is, in bytes; of those in a pool, PoolStack, of which
// there are PoolStacks.
const (
	OwnStackSize = plan.OwnStackSize
	PoolStack    = plan.OwnStackLevel
	PoolStacks   = plan.PoolStacks
)

// Enter makes the code, to lie at base, by which a thread finds its stack first:
// wrapper is FnStack's, room OwnStackSize bytes of memory for it to do so, and lost
// the word that is counted up where it can't. It is of amd64.
func Enter(base, wrapper, room, lost arch.Addr) []byte { return amd64.Enter(base, wrapper, room, lost) }

// EnterPool makes the code by which a thread that has found a stack of a pool taken
// looks for another; lost is as Enter's. It can lie anywhere, and is of arm64.
func EnterPool(pool, lost arch.Addr) []byte { return arm64.Enter(pool, lost) }

// Compile makes r's code for t, on the instruction set of r's context.
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
