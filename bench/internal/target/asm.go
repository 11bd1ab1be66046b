package target

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/ptracer/ptracer/failure"
)

// reg is a register of the portable instructions. Each instruction set has a machine register for
// each. The named ones keep their values across system calls and across calls of the probed
// functions.
type reg int

const (
	control  reg = iota // address of the control block; Go functions read their stack's end through it
	index               // number of this thread
	slot                // address of the thread's slot in the control block
	epoch               // the last order that the thread has seen
	function            // the function to call
	count               // calls left
	arg0                // arguments of system calls, which clobber them
	arg1
	arg2
	arg3
	arg4
	arg5
	result // of a system call; the register of the first argument if the CPU's convention says so
)

// condition is the condition of a branch.
type condition int

const (
	equal condition = iota
	different
	below // unsigned
	signedBelow
)

// instructions is what an instruction set must encode. Offsets are multiples of 8, below 4096.
type instructions interface {
	machine() elf.Machine
	pageSize() uint64   // alignment of segments: the kernel's largest possible page
	pad() []byte        // an instruction without effect, between functions
	trap() []byte       // the instruction that debuggers plant
	loader() string     // path of the C library's dynamic loader
	globalData() uint32 // the relocation that makes it write a symbol's address
	jumpFrom(from, to uint64) []byte

	sites() []siteCode
	missing() []Missing
	ordinary() // the body of a function as compilers generate it

	set(r reg, v uint64)
	move(to, from reg)
	load(r, base reg, off int)
	load32(r, base reg, off int)
	store(base reg, off int, r reg)
	add(r, other reg)
	sub(r, other reg)
	multiply(r reg, v uint32)
	decrement(r reg) // also sets the flags for branchNotZero
	branchNotZero(to string)
	branch(c condition, r, other reg, to string)
	jump(to string)
	// jumpBack is a jump to a known label that disassemblers do not recognise as one: it stands for
	// a debugger's slot, which the program does not have.
	jumpBack(to string)
	call(r reg)
	ret()
	syscall(name string)
	atomicIncrement(base reg, off int)
	increment(off int) // of the control block, not atomic; for the code of patched jumps
	addressOf(r reg, label string)

	clone(stack reg)     // CLONE_VM and so on, a new thread; result is 0 in it
	threadPointer(r reg) // sets the thread pointer to r, as C libraries do
	trapReturn()         // body of a SIGTRAP handler that continues at the control block's resume
	patch(f fixup, code []byte, base, to uint64) error
}

// setOf returns the instruction set of a Go architecture.
func setOf(goarch string) (func(*assembler) instructions, error) {
	switch goarch {
	case "amd64":
		return func(a *assembler) instructions { return amd64{a} }, nil
	case "arm64":
		return func(a *assembler) instructions { return arm64{a} }, nil
	}
	return nil, fmt.Errorf("target: %w", failure.Unsupportedf("no program for %s", goarch))
}

// fixup is a place in the code that depends on the address of a label.
type fixup struct {
	at    int // offset of the instruction's field
	kind  int // the instruction set's own
	label string
}

// assembler collects code, and the parts of it that depend on labels.
type assembler struct {
	instructions
	base    uint64 // address of the first byte
	code    []byte
	labels  map[string]int
	fixups  []fixup
	symbols []Symbol
}

// Symbol is a function of the program.
type Symbol struct {
	Name       string
	Addr, Size uint64
}

func newAssembler(set func(*assembler) instructions, base uint64) *assembler {
	a := &assembler{base: base, labels: map[string]int{}}
	a.instructions = set(a)
	return a
}

func (a *assembler) bytes(b ...byte) { a.code = append(a.code, b...) }

func (a *assembler) word(w uint32) { a.code = binary.LittleEndian.AppendUint32(a.code, w) }

// here gives a name to the next byte.
func (a *assembler) here(label string) { a.labels[label] = len(a.code) }

// refer records that the field at the end of the code, n bytes back, depends on a label.
func (a *assembler) refer(label string, kind, back int) {
	a.fixups = append(a.fixups, fixup{len(a.code) - back, kind, label})
}

// align fills up to a multiple of n bytes with instructions without effect.
func (a *assembler) align(n int) {
	for len(a.code)%n != 0 {
		a.bytes(a.pad()...)
	}
}

// fn writes a function with a symbol, at a multiple of n bytes.
func (a *assembler) fn(name string, n int, body func()) {
	a.align(n)
	a.here(name)
	start := len(a.code)
	body()
	a.symbols = append(a.symbols, Symbol{name, a.base + uint64(start), uint64(len(a.code) - start)})
}

// addr returns the address of a label.
func (a *assembler) addr(label string) uint64 { return a.base + uint64(a.labels[label]) }

// finish fills in all fields that depend on labels.
func (a *assembler) finish() error {
	for _, f := range a.fixups {
		if _, ok := a.labels[f.label]; !ok {
			return fmt.Errorf("target: no label %s", f.label)
		}
		if err := a.patch(f, a.code, a.base, a.addr(f.label)); err != nil {
			return fmt.Errorf("target: %s: %w", f.label, err)
		}
	}
	return nil
}
