// Package build makes handlers: programs in the portable form, written as calls
// of a Builder instead of raw instructions. The built-in handlers, compiled
// filters and handlers of users are all made with it.
//
// It is a thin layer: the caller chooses registers, a method adds one to six instructions, and adds
// no others without saying so. It takes care of the places of arguments on each instruction set,
// stack slots, map keys, null checks, labels, and the registers that a call clobbers.
//
//	b := build.New("big", ctx)
//	calls := b.Map(program.Map{Name: "calls", Type: program.PerCPUArray,
//		KeySize: 4, ValueSize: 8, MaxEntries: 1})
//	n := b.Var()
//	b.Arg(n, 2)
//	b.If(build.Gt(n, 4096), func() {
//		b.Index(calls, 0)           // R0 is the value's address
//		b.Inc(build.At(build.R0, 0)) // one atomic addition
//	})
//	p, err := b.Program()
//
// The context is in R6 (Ctx). Var hands out R7 to R9, which keep their values across calls. R0 to
// R5 are free for anything between two calls of methods that say they clobber them.
//
// After a mistake further calls have no effect, and Program returns the error. The package is pure
// and imports packages program and arch only.
package build

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// ErrBuild is wrapped by all errors of this package.
var ErrBuild = errors.New("build")

// Reg is a register of a program.
type Reg = asm.Register

// Registers. R6 is Ctx; R10 is the end of the stack frame.
const (
	R0  = asm.R0
	R1  = asm.R1
	R2  = asm.R2
	R3  = asm.R3
	R4  = asm.R4
	R5  = asm.R5
	Ctx = asm.R6
	R10 = asm.R10
)

// vars are the registers that Var hands out.
var vars = [...]Reg{asm.R7, asm.R8, asm.R9}

// Label is a place in a program that jumps can lead to.
type Label string

// Builder collects a program. New makes it, and it is used once.
type Builder struct {
	name    string
	context program.Context
	layout  layout
	insns   asm.Instructions
	maps    []program.Map
	used    [len(vars)]bool
	stack   stack
	labels  int
	pending Label           // labels of the next instruction
	same    map[Label]Label // for labels of one place: the label that is kept
	placed  map[Label]bool
	err     error
}

// New starts a handler for the instruction set and calling convention of ctx.
func New(name string, ctx program.Context) *Builder {
	b := &Builder{name: name, context: ctx, same: map[Label]Label{}, placed: map[Label]bool{}}
	l, ok := layouts[ctx.Arch]
	if !ok || ctx.Calls > arch.NotKnown {
		b.Fail("no layout of registers for %q, convention %d", ctx.Arch, ctx.Calls)
		b.context.Calls = arch.NotKnown
	}
	b.layout = l
	b.Add(asm.Mov.Reg(Ctx, R1))
	return b
}

// Context is the context that the Builder was made for.
func (b *Builder) Context() program.Context { return b.context }

// Fail makes Program return an error with this text; only the first one counts.
func (b *Builder) Fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("%w: %s: %w", ErrBuild, b.name, fmt.Errorf(format, args...))
	}
}

// Err is the first mistake so far.
func (b *Builder) Err() error { return b.err }

// Add appends instructions unchanged. LoadMap refers to maps and Label to places, so an instruction
// needs no symbol or reference, except the label of a jump.
func (b *Builder) Add(insns ...asm.Instruction) {
	if b.err != nil {
		return
	}
	for _, i := range insns {
		if b.pending != "" {
			i = i.WithSymbol(string(b.pending))
			b.pending = ""
		}
		b.insns = append(b.insns, i)
	}
}

// Var takes a register that keeps its value across calls; there are three.
func (b *Builder) Var() Reg {
	for i, r := range vars {
		if !b.used[i] {
			b.used[i] = true
			return r
		}
	}
	b.Fail("no register is free: there are %d", len(vars))
	return vars[0]
}

// Free returns registers of Var.
func (b *Builder) Free(regs ...Reg) {
	for i, r := range vars {
		for _, f := range regs {
			if f == r {
				b.used[i] = false
			}
		}
	}
}

// Program ends the handler with result 0, unless it has ended already, and returns it.
func (b *Builder) Program() (*program.Program, error) {
	if b.pending != "" || !b.ended() {
		b.Stop()
	}
	if b.err != nil {
		return nil, b.err
	}
	for i := range b.insns {
		ins := &b.insns[i]
		if to := b.root(Label(ins.Reference())); to != "" {
			if !b.placed[to] {
				return nil, fmt.Errorf("%w: %s: label %s is nowhere", ErrBuild, b.name, to)
			}
			*ins = ins.WithReference(string(to))
		}
	}
	b.dropContext()
	p, err := program.FromAsm(b.name, b.insns, b.maps)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBuild, err)
	}
	return p, nil
}

// dropContext removes the copy of the context if no instruction uses it.
func (b *Builder) dropContext() {
	for _, ins := range b.insns[1:] {
		if ins.Dst == Ctx || ins.Src == Ctx {
			return
		}
	}
	if b.insns[0].Symbol() == "" {
		b.insns = b.insns[1:]
	}
}

// ended reports whether control can't get behind the last instruction.
func (b *Builder) ended() bool {
	if len(b.insns) == 0 {
		return false
	}
	op := b.insns[len(b.insns)-1].OpCode
	return op.JumpOp() == asm.Exit || op.JumpOp() == asm.Ja
}
