package plan

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/failure"
)

// Target describes what code is made for: its address and the maps', the helpers that it may call,
// and how it is entered.
type Target struct {
	Base   arch.Addr // address of the code's first byte
	Region arch.Addr // address of the maps' shared memory, page-aligned
	Maps   []Map     // in the order of the program's
	// Helpers are the addresses of helpers. They take their arguments in the machine registers of
	// R1 to R5 and return in R0's. They may change those, the scratch registers and the flags, and
	// nothing else, in particular no vector register. On arm64 the stack pointer is a multiple of
	// 16 when they are called. Inlined helpers need no address: see package compile.
	Helpers  map[Helper]arch.Addr
	Features Feature
	// Threads is the address of the program's table of threads, for maps with slots.
	Threads arch.Addr
	// RSeq is the offset of a thread's struct rseq from its thread pointer, 0 if it is not known:
	// the kernel writes the CPU's number there, for machines without an instruction that reads it.
	RSeq int
	// Called reports that the code is called and returns. Otherwise it is entered at its first byte
	// and left behind its last.
	Called bool
	// Result reports that R0 is used at the end.
	Result bool
	// Helper reports that the program is a helper itself: it is Called with its arguments in R1 to
	// R5 instead of a context, it keeps the registers that helpers keep, and it may use the
	// primitives. The verifier has not checked it.
	Helper bool
}

// Helper is a function that programs call: program.Helper.Num, and the index of the map that it is
// called with, NoMap if there is none.
type Helper struct {
	Num int32
	Map int
}

// NoMap is the Map of helpers without one.
const NoMap = -1

// The primitives are called like helpers with these numbers: operations that each instruction set
// has instructions for. System calls, with up to five arguments, are FnSyscall minus their numbers.
const (
	FnThread  = -1   // the thread pointer
	FnCycles  = -2   // the counter that the time is computed from
	FnSlot    = -3   // the number of the thread's value in maps with one for each CPU: Maps[0].CPUs
	FnScale   = -500 // R0 times R5, shifted right; minus the number of bits
	FnSyscall = -1000

	// FnOwn is a lookup of the calling thread's entry in a hash. The key, 8 bytes, is the thread's
	// ids, and is written to the address in R2. A lookup with the result of get_current_pid_tgid
	// becomes one, if the target has it.
	FnOwn = -4
	// FnEntry returns the thread's entry in the table of threads, 0 if the thread can't have one.
	FnEntry = -5
	// FnClaim is called by code of maps with slots if a thread's entry is not where the code looks
	// first. It returns the address of an entry in a scratch register (amd64: r11), and changes no
	// other register except the flags.
	FnClaim = -6
	// FnSelf, a primitive of amd64, is the word that the thread pointer points to; the ABI of
	// thread-local storage makes it the pointer itself. Reading it is free, while rdfsbase waits
	// for all instructions in flight, and its users wait, too.
	FnSelf = -7
	// FnStack returns the thread's entry in the table of threads, with a stack at ThreadStack. If
	// the thread can't have one, it returns 0 and counts the hit as lost.
	FnStack = -8
	// FnProcess is the process's id. It replaces get_current_pid_tgid if the result is shifted
	// right by 32 at once.
	FnProcess = -9
	// FnGoroutine, a primitive of arm64, is the register with the goroutine in Go's code; in other
	// code its value is arbitrary.
	FnGoroutine = -10
)

// The table of threads, as far as compiled code uses it itself (package helper has the rest).
// Behind ThreadFirst bytes are entries. A thread's entry is the one selected by the upper
// ThreadBits bits of the product of ThreadMul and the lower 32 bits of its pointer, or one behind
// it. Its first word is that pointer, once the slot at ThreadSlot is set.
const (
	ThreadFirst = 64
	ThreadEntry = 64
	ThreadBits  = 12
	ThreadMul   = 0x9e3779b1
	ThreadSlot  = 16
	ThreadStack = 56
)

// Feature is a feature that not all CPUs have.
type Feature uint8

// Features that the compiler uses.
const (
	RDPID  Feature = 1 << iota // amd64: the number of the CPU in one instruction
	LSE                        // arm64: atomic read-modify-write in one instruction
	FSBase                     // amd64: the thread pointer in one instruction, which the kernel permits
)

// Map is the place of a map in the region; offsets are in bytes from its start.
type Map struct {
	Header int // stands for the map itself, as an argument of helpers
	Data   int // value 0, of CPU 0
	Stride int // from a value to the next one; a multiple of 8
	// CPUStride is the distance between the values of two CPUs in a per-CPU map. There must be a
	// value for each CPU that the machine can ever have.
	CPUStride int
	CPUs      int // the number of these values
	// Slotted reports that a thread uses the value of its own slot, not of its CPU: no other thread
	// writes that. The target then has Threads and FnClaim.
	Slotted bool
}

// The frame lies directly above the code's own stack: the words of arch.Regs, beginning with the
// context that programs see, then words about the hit. See package compile.
const (
	FrameCookie = arch.Words     // word: the probe's cookie
	FrameFuncIP = arch.Words + 1 // word: address of the probe
	FrameWords  = arch.Words + 2
)

// Words is a set of words of a frame; bit i is word i.
type Words uint64

// Has reports whether word i is in w.
func (w Words) Has(i int) bool { return w>>uint(i)&1 != 0 }

// Code is a compiled program and what it requires.
type Code struct {
	Bytes []byte // for address Target.Base
	// Clobbers are the registers, as words of arch.Regs, that do not hold the program's values at
	// the end.
	Clobbers Words
	// Reads are the words of the frame that the code reads. The code that enters fills in Clobbers
	// and Reads.
	Reads Words
	// Writes are the words that the code may change; their registers are then restored from the
	// frame with Clobbers. They are also in Reads.
	Writes Words
	Flags  bool // changes the flags
	// Locals is how many bytes lie between the stack pointer and the frame at the start, a multiple
	// of 16; 0 if Called. If Locals and Stack are 0, the code does not use the stack pointer unless
	// Reads includes it.
	Locals int
	// Stack is how many bytes below the frame the code uses, including its return address, but
	// without those of helpers.
	Stack int
	Calls bool // calls helpers
	// Claims reports that it calls FnClaim, which needs only the stack of helpers.
	Claims bool
	// Relative are the distances in the code to targets that do not move with it. If Movable,
	// everything else can lie at any address.
	Relative []Relative
	Movable  bool
}

// Relative is a 32-bit distance in code, relative to its own place.
type Relative struct {
	At     int
	Region bool // the target is in the maps' region
}

// Move returns the code, made for address from, for address to, with the maps' data moved by data
// bytes; nil if that is not possible.
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

// Error says why a program has no machine code.
type Error struct {
	Program string
	Insn    int
	Err     error // the reason
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: instruction %d: %v", e.Program, e.Insn, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Refuse returns the error for instruction i of p, which has no code.
func Refuse(p *program.Program, i int, format string, args ...any) error {
	return &Error{p.Name, i, failure.Unsupportedf(format, args...)}
}
