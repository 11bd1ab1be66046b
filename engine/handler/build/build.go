// Package build makes handlers: programs in the portable form, written as calls
// of a Builder instead of raw instructions. The built-in handlers, compiled
// filters and handlers of users are all made with it.
//
// It is a thin layer: the writer chooses registers, a call is one to six
// instructions, and nothing is added behind his back. What it takes off his
// hands is where arguments lie on each instruction set, stack slots, map keys,
// null checks, labels, and what is left of registers after a call.
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
// The context is in R6 (Ctx); R7 to R9 are handed out by Var and keep their
// values over calls; R0 to R5 are free for anything between two calls of the
// Builder's that say they clobber them.
//
// A mistake is remembered, makes what follows of no effect, and comes out of
// Program. The package is pure and imports packages program and arch only.
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

// Registers. R6 is Ctx; R10 the end of the stack frame.
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

// Label is a place in a program that can be jumped to.
type Label string

// Builder collects a program. It is made by New and used once.
type Builder struct {
	name    string
	context program.Context
	layout  layout
	insns   asm.Instructions
	maps    []program.Map
	used    [len(vars)]bool
	stack   stack
	labels  int
	pending Label           // of the next instruction
	same    map[Label]Label // labels of one place, to the one that is kept
	placed  map[Label]bool
	err     error
}

// New starts a handler for the instruction set whose context is ctx.
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

// Context is the one that the Builder was made for.
func (b *Builder) Context() program.Context { return b.context }

// Fail makes Program return an error that says so; the first one counts.
func (b *Builder) Fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("%w: %s: %w", ErrBuild, b.name, fmt.Errorf(format, args...))
	}
}

// Err is the first mistake so far.
func (b *Builder) Err() error { return b.err }

// Add appends instructions as they are. Maps are referred to by LoadMap and
// places by Label, so an instruction needs neither symbol nor reference but a
// jump's label.
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

// Var takes a register that keeps its value over calls; there are three.
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

// Free gives registers of Var back.
func (b *Builder) Free(regs ...Reg) {
	for i, r := range vars {
		for _, f := range regs {
			if f == r {
				b.used[i] = false
			}
		}
	}
}

// Program ends the handler with result 0, where it is not ended yet, and
// returns it.
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

// dropContext takes the copy of the context away where nothing uses it.
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

// ended is whether control can't get behind the last instruction.
func (b *Builder) ended() bool {
	if len(b.insns) == 0 {
		return false
	}
	op := b.insns[len(b.insns)-1].OpCode
	return op.JumpOp() == asm.Exit || op.JumpOp() == asm.Ja
}
