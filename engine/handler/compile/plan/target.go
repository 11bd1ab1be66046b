package plan

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/failure"
)

// Target is what code is made for: where it and the maps will lie, what it may
// call, and how it is entered.
type Target struct {
	Base   arch.Addr // of the code's first byte
	Region arch.Addr // of the maps' shared memory, page-aligned
	Maps   []Map     // in the order of the program's
	// Helpers are the addresses of what programs call. They take their arguments in the machine registers of R1 to R5 and
	// return in R0's; they may change those, the scratch registers and the
	// flags, and nothing else, no vector register either. On arm64 the stack
	// pointer is a multiple of 16 when they are called. Helpers that are inlined need
	// none: see package compile.
	Helpers  map[Helper]arch.Addr
	Features Feature
	// Threads is the program's table of threads, for maps with lines.
	Threads arch.Addr
	// RSeq is where a thread's struct rseq lies, relative to its thread
	// pointer, 0 if that is not known: where no instruction gives the number
	// of the CPU, the kernel writes it there.
	RSeq int
	// Called is whether the code is reached by a call and ends in a return.
	// Otherwise it is entered at its first byte and left behind its last.
	Called bool
	// Result is whether anybody looks at R0 at the end.
	Result bool
	// Helper is whether the program is a helper itself: Called with its arguments
	// in R1 to R5 instead of a context, it keeps what helpers keep, and may use
	// the primitives. Nobody has verified it.
	Helper bool
}

// Helper is a function that programs call: program.Helper.Num, and the index of
// the map that it is called with, NoMap if it is none's.
type Helper struct {
	Num int32
	Map int
}

// NoMap is the Map of helpers that have none.
const NoMap = -1

// The primitives are called as if they were helpers with these numbers: what
// each instruction set has an instruction for. Those of system calls, of up to
// five arguments, are FnSyscall less their numbers.
const (
	FnThread  = -1   // the thread pointer
	FnCycles  = -2   // the counter that time is made of
	FnLine    = -3   // the number of the thread's value in maps with one for each CPU: Maps[0].CPUs
	FnScale   = -500 // R0 times R5, shifted right; less by how many bits
	FnSyscall = -1000

	// FnOwn is a look-up in a hash of what the calling thread has there: its key,
	// 8 bytes, is the thread's ids, and is written to where R2 points. Look-ups
	// by what get_current_pid_tgid has told become one where the target has it.
	FnOwn = -4
	// FnEntry gives the thread's entry in the table of threads, 0 if it can't
	// have one.
	FnEntry = -5
	// FnClaim is what code of maps with lines calls where a thread's entry is not
	// where it looks first: it leaves the address of one in a scratch register
	// (amd64: r11), and changes no other register but the flags.
	FnClaim = -6
	// FnSelf, a primitive of amd64, is the word that the thread pointer points to: by
	// the ABI of thread-local storage itself. To read it is free, while rdfsbase waits
	// for all that is in flight, and what needs it waits, too.
	FnSelf = -7
	// FnStack gives the thread's entry in the table of threads, with a stack at
	// ThreadStack; 0, and a hit counted as lost, if it can't have one.
	FnStack = -8
	// FnProcess is the process's id: what get_current_pid_tgid is asked for where its
	// answer is shifted right by 32 at once.
	FnProcess = -9
	// FnGoroutine, a primitive of arm64, is the register that has the goroutine in Go's
	// code; it may have anything in other.
	FnGoroutine = -10
)

// The table of threads, as far as code looks into it by itself (package helper has
// the rest): behind ThreadFirst bytes lie entries, of which a thread's is at the
// one that the lower 32 bits of its pointer, times ThreadMul, give by their upper
// ThreadBits bits, or at one behind it. Its first word is that pointer, once the
// line at ThreadLine is there.
const (
	ThreadFirst = 64
	ThreadEntry = 64
	ThreadBits  = 12
	ThreadMul   = 0x9e3779b1
	ThreadLine  = 16
	ThreadStack = 56
)

// Feature is what a CPU has beyond what all have.
type Feature uint8

// The features that make a difference.
const (
	RDPID  Feature = 1 << iota // amd64: the number of the CPU in one instruction
	LSE                        // arm64: atomic read-modify-write in one instruction
	FSBase                     // amd64: the thread pointer in one, which the kernel allows
)

// Map says where a map lies in the region, in bytes from its start.
type Map struct {
	Header int // what stands for the map itself where a helper is given one
	Data   int // value 0, of CPU 0
	Stride int // from a value to the next one; a multiple of 8
	// CPUStride, of a per-CPU map, is from a CPU's value to the next CPU's.
	// All CPUs that the machine can ever have must have theirs.
	CPUStride int
	CPUs      int // how many that are
	// Lined is whether a thread takes the value of its own line, not of its CPU:
	// nobody else writes that. The target has Threads and FnClaim then.
	Lined bool
}

// The frame lies directly above the code's own stack: the words of arch.Regs,
// of which the first are the context that programs see, then words about the
// hit. See package compile.
const (
	FrameCookie = arch.Words     // word: the probe's cookie
	FrameFuncIP = arch.Words + 1 // word: address of the probe
	FrameWords  = arch.Words + 2
)

// Words is a set of words of a frame; bit i is word i.
type Words uint64

// Has is whether word i is in w.
func (w Words) Has(i int) bool { return w>>uint(i)&1 != 0 }

// Code is a compiled program and what it asks of its surroundings.
type Code struct {
	Bytes []byte // to lie at Target.Base
	// Clobbers are the registers that do not hold the program's values at the
	// end, by their words in arch.Regs.
	Clobbers Words
	// Reads are the words of the frame that the code reads. Whoever enters
	// the code fills in Clobbers and Reads.
	Reads Words
	// Writes are the words that it may have changed, for the registers to be
	// given back with Clobbers. They are in Reads.
	Writes Words
	Flags  bool // changes the flags
	// Locals is how many bytes lie between the stack pointer and the frame at
	// the start, a multiple of 16; 0 if Called. If it and Stack are 0, the
	// code does not look at the stack pointer unless Reads says so.
	Locals int
	// Stack is how many bytes below the frame the code uses, its return
	// address included, those of helpers and what they use not.
	Stack int
	Calls bool // calls helpers
	// Claims is whether it calls FnClaim, which needs the stack of helpers only.
	Claims bool
	// Relative are the distances in the code to what does not move with it. All else
	// can lie anywhere, if Movable.
	Relative []Relative
	Movable  bool
}

// Relative is a 32-bit number in code, a distance from there.
type Relative struct {
	At     int
	Region bool // to the maps' region
}

// Move gives the code that lies at from as it is to lie at to, with the maps data bytes
// further on, nil if that can't be had.
func (c *Code) Move(from, to arch.Addr, data int) *Code {
	if !c.Movable {
		return nil
	}
	moved := *c
	moved.Bytes = bytes.Clone(c.Bytes)
	for _, r := range c.Relative {
		d := int64(int32(binary.LittleEndian.Uint32(moved.Bytes[r.At:]))) - int64(to-from)
		if r.Region {
			d += int64(data)
		}
		if d != int64(int32(d)) {
			return nil
		}
		binary.LittleEndian.PutUint32(moved.Bytes[r.At:], uint32(d))
	}
	return &moved
}

// Error is why a program has no code.
type Error struct {
	Program string
	Insn    int
	Err     error // the reason
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: instruction %d: %v", e.Program, e.Insn, e.Err)
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// Refuse is the error that instruction i of p has no code.
func Refuse(p *program.Program, i int, format string, args ...any) error {
	return &Error{p.Name, i, failure.Unsupportedf(format, args...)}
}
