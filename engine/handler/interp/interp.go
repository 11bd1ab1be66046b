// Package interp is the engine's executor of handlers, and the reference for the others: a plain
// interpreter of verified programs.
//
// Pointers in a program are addresses of a private address space: the stack, the context, the
// region of shared memory that holds the maps. The interpreter checks each access against it,
// though the verifier has proved the access correct. An access outside is an error, never a crash,
// and means a fault of the verifier. An Env provides what helpers need from the thread that hit.
//
// Maps are passed as interfaces with the methods that programs need (Maps, Map, Ring, Stacks): the
// values lie in one region of memory that other processes may share.
//
// A Machine belongs to one thread at a time and does not allocate during a run. The package uses no
// tracee and no ptrace.
package interp

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// Env provides what a handler's helpers ask for.
type Env interface {
	// Regs is the thread's registers; a program with the right Override may change them.
	Regs() *arch.Regs
	// ReadMemory reads the traced program's memory, whole or with an error.
	ReadMemory(addr arch.Addr, buf []byte) error
	// WriteMemory writes the traced program's memory, whole or with an error.
	WriteMemory(addr arch.Addr, data []byte) error
	// Time is CLOCK_MONOTONIC, BootTime CLOCK_BOOTTIME, in ns.
	Time() uint64
	BootTime() uint64
	// PIDTGID has the thread's id in the lower half and its process's id in the upper half.
	PIDTGID() uint64
	// UIDGID has the thread's uid in the lower half and its gid in the upper half.
	UIDGID() uint64
	// Comm is the thread's name, padded with 0.
	Comm() [16]byte
	// CPU is the CPU that the thread last ran on.
	CPU() int
	// Stack writes the thread's return addresses to buf, the PC first, and returns their number.
	Stack(buf []uint64) int
	// Cookie is the number that the probe was registered with, FuncIP the probe's address.
	Cookie() uint64
	FuncIP() uint64
	// Print receives the text of trace_printk, without a line end.
	Print(text string)
}

// Code is a verified program and its maps, ready to run.
type Code struct {
	name  string
	insns []program.Insn
	ctx   int // bytes
	steps int
	maps  []Map
	shm   []byte
}

// New prepares a program; set holds the maps of r.Program.Maps, in their order. It may be nil for a
// program without maps.
func New(r *verify.Result, set Maps) (*Code, error) {
	c := &Code{name: r.Program.Name, insns: r.Program.Insns, ctx: r.Context.Size, steps: r.Steps}
	for i, want := range r.Program.Maps {
		if set == nil || i >= set.Len() {
			return nil, fmt.Errorf("%s: no map %q in the set", c.name, want.Name)
		}
		m := set.Map(i)
		if got := m.Spec(); got.Type != want.Type || got.KeySize != want.KeySize || got.ValueSize != want.ValueSize {
			return nil, fmt.Errorf("%s: map %q is another than the program's", c.name, want.Name)
		}
		c.maps, c.shm = append(c.maps, m), set.Bytes()
	}
	return c, nil
}

// ErrFault is wrapped by errors of a run: the program did something that the verifier should have
// refused.
var ErrFault = errors.New("handler fault")

// fault is an error at one instruction of a program.
type fault struct {
	name string
	pc   int
	why  string
}

func (f *fault) Error() string { return fmt.Sprintf("%s: instruction %d: %s", f.name, f.pc, f.why) }
func (f *fault) Unwrap() error { return ErrFault }

// frame is a call in progress.
type frame struct {
	pc    int       // where the caller continues
	saved [4]uint64 // the caller's R6 to R9
}

// Machine runs programs, one at a time.
type Machine struct {
	r      [program.NumRegs]uint64
	stack  [program.MaxFrames * program.StackSize]byte
	frames [program.MaxFrames]frame
	depth  int // of frames in use
	steps  int
	code   *Code
	env    Env
	buf    [512]byte // used by helpers
	addrs  [maxStack]uint64
	failed error
}

// Run runs a program for the thread that env stands for, and returns R0.
func (m *Machine) Run(c *Code, env Env) (uint64, error) {
	m.code, m.env, m.steps, m.depth, m.failed = c, env, c.steps, 0, nil
	m.r[program.R1] = ctxBase
	err := m.enter(0)
	m.code, m.env = nil, nil
	return m.r[program.R0], err
}

// enter runs the function at pc, with the functions that it calls, to its exit.
func (m *Machine) enter(pc int) error {
	if m.depth == program.MaxFrames {
		return m.fault(pc, "calls nest too deep")
	}
	bottom := m.depth
	m.depth++
	m.setFrame()
	for {
		if uint(pc) >= uint(len(m.code.insns)) {
			return m.fault(pc, "outside the program")
		}
		if m.steps--; m.steps < 0 {
			return m.fault(pc, "runs longer than was proved")
		}
		in := m.code.insns[pc]
		next, err := classes[in.Class()](m, in, pc)
		if err != nil {
			return err
		}
		if next >= 0 {
			pc = next
			continue
		}
		m.depth--
		if m.depth == bottom {
			if bottom > 0 {
				m.setFrame()
			}
			return nil
		}
		f := &m.frames[m.depth]
		copy(m.r[program.R6:program.R10], f.saved[:])
		pc = f.pc
		m.setFrame()
	}
}

// setFrame makes R10 point to the end of the current frame.
func (m *Machine) setFrame() { m.r[program.R10] = stackBase + uint64(m.depth*program.StackSize) }

// exited is the next instruction's index at the end of a function.
const exited = -1

// classes execute instructions, by class; each returns the next instruction's index.
var classes = [8]func(*Machine, program.Insn, int) (int, error){
	program.ClassLd:    (*Machine).wide,
	program.ClassLdx:   (*Machine).load,
	program.ClassSt:    (*Machine).store,
	program.ClassStx:   (*Machine).store,
	program.ClassAlu:   (*Machine).alu32,
	program.ClassAlu64: (*Machine).alu64,
}

func init() { // here, since the functions refer back to enter
	classes[program.ClassJmp] = (*Machine).jump
	classes[program.ClassJmp32] = (*Machine).jump
}

func (m *Machine) fault(pc int, format string, args ...any) error {
	return &fault{m.code.name, pc, fmt.Sprintf(format, args...)}
}
