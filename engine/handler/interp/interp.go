// Package interp is the engine's executor of handlers, and the reference for
// the others: a plain interpreter of verified programs.
//
// Mechanism. Pointers in a program are addresses of a private address space:
// the stack, the context, the region of shared memory that holds the maps. Each
// access is checked against it although the verifier has proved it right; one
// outside is an error, never a crash, and means a fault of the verifier. What a
// helper needs of the thread that hit comes from an Env.
//
// Maps come as what a program's maps must be able to do (Maps, Map, Ring,
// Stacks): the values lie in one region of memory that others may share.
//
// A Machine belongs to one thread at a time and allocates nothing in a run. The
// package knows no tracee and no ptrace.
package interp

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// Env is where a handler runs: what its helpers ask for.
type Env interface {
	// Regs are the thread's; a program with the right to may change them.
	Regs() *arch.Regs
	// ReadMemory reads the traced program's memory, whole or with an error.
	ReadMemory(addr arch.Addr, buf []byte) error
	// WriteMemory writes it.
	WriteMemory(addr arch.Addr, data []byte) error
	// Time is CLOCK_MONOTONIC, BootTime CLOCK_BOOTTIME, in ns.
	Time() uint64
	BootTime() uint64
	// PIDTGID is the thread's id, and in the upper half its process's.
	PIDTGID() uint64
	// UIDGID is the thread's uid, and in the upper half its gid.
	UIDGID() uint64
	// Comm is the thread's name, padded with 0.
	Comm() [16]byte
	// CPU is where the thread last ran.
	CPU() int
	// Stack gives the thread's return addresses, the PC first.
	Stack(buf []uint64) int
	// Cookie is what the probe was registered with, FuncIP its address.
	Cookie() uint64
	FuncIP() uint64
	// Print is told what trace_printk prints, without a line's end.
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

// New makes a program ready; set holds the maps of r.Program.Maps, in their
// order. It may be nil for a program without any.
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

// ErrFault is wrapped by errors of a run: the program did what the verifier
// should have refused.
var ErrFault = errors.New("handler fault")

// fault is where a program went wrong.
type fault struct {
	name string
	pc   int
	why  string
}

func (f *fault) Error() string { return fmt.Sprintf("%s: instruction %d: %s", f.name, f.pc, f.why) }
func (f *fault) Unwrap() error { return ErrFault }

// frame is a call in progress.
type frame struct {
	pc    int       // where the caller goes on
	saved [4]uint64 // its R6 to R9
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
	buf    [512]byte // a helper's
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

// enter runs the function at pc, and what it calls, to its exit.
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

// setFrame makes R10 the end of the frame in use.
func (m *Machine) setFrame() { m.r[program.R10] = stackBase + uint64(m.depth*program.StackSize) }

// exited is what an instruction's next one is at the end of a function.
const exited = -1

// classes are the instructions by class; each gives the next one's index.
var classes = [8]func(*Machine, program.Insn, int) (int, error){
	program.ClassLd:    (*Machine).wide,
	program.ClassLdx:   (*Machine).load,
	program.ClassSt:    (*Machine).store,
	program.ClassStx:   (*Machine).store,
	program.ClassAlu:   (*Machine).alu32,
	program.ClassAlu64: (*Machine).alu64,
}

func init() { // they lead back to enter
	classes[program.ClassJmp] = (*Machine).jump
	classes[program.ClassJmp32] = (*Machine).jump
}

func (m *Machine) fault(pc int, format string, args ...any) error {
	return &fault{m.code.name, pc, fmt.Sprintf(format, args...)}
}
