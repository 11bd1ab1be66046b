// Package plan turns a verified program into operations that both instruction sets lower one by
// one, each into a few machine instructions. It makes all decisions that do not depend on the
// instruction set.
//
// There is one operation for each instruction, so that jumps keep their indices. Build passes over
// them several times. It decodes. It follows constants, addresses and the context forward, so that
// accesses name a place instead of a register, and a lookup with a known key becomes an address. It
// removes unneeded operations, by liveness of registers and of stack slots. It fuses a load, an
// addition and a store of the same map value into one operation, which is exact even if several
// threads count, and also the search for a number's highest bit.
//
// It also defines the types that the compiler's packages share: Target, Code and their parts. The
// package is pure; it imports the program's form, the verifier's results and package arch.
package plan

import (
	"fmt"
	"slices"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// Plan is a program as operations.
type Plan struct {
	Program *program.Program
	Target  *Target
	Ops     []Op // one for each instruction
	Funcs   []Func
	// Context reports whether the code must first set R1 to the address of the context.
	Context bool
	// Reads and Writes are the words of the frame that are accessed through pointers and by
	// helpers; operations with BaseFrame name their words themselves.
	Reads, Writes Words
	stored        Words // the words written by operations with BaseFrame
}

// Func is a function of a program.
type Func struct {
	Start, End int  // of its operations
	Stack      int  // size of its stack frame in bytes, a multiple of 8
	Used       bool // another function calls it
}

// builder is the state of one Build.
type builder struct {
	*Plan
	result *verify.Result
	// entry has the registers that each function expects, in has those that are live before each
	// operation.
	entry, in []uint16
	// cpuInline reports whether the CPU's number can be read without a call.
	cpuInline bool
}

// Build makes the plan of r for t. It returns an Error if a part of r has no machine code.
func Build(r *verify.Result, t *Target) (*Plan, error) {
	p := r.Program
	if err := sound(r, t); err != nil {
		return nil, err
	}
	b := &builder{Plan: &Plan{Program: p, Target: t, Ops: make([]Op, len(p.Insns))}, result: r,
		entry: make([]uint16, len(p.Funcs)), in: make([]uint16, len(p.Insns)+1)}
	for f := range p.Funcs {
		b.Funcs = append(b.Funcs, Func{Start: p.Funcs[f].Start, End: p.End(f)})
	}
	for i := 0; i < len(p.Insns); i++ {
		if !r.Facts[i].Reached {
			continue
		}
		if err := b.decode(i); err != nil {
			return nil, err
		}
	}
	b.cpuInline = r.Context.Arch == "amd64" || t.RSeq != 0
	b.fold()
	b.reach()
	b.trim()
	b.bitLengths()
	b.fold() // again, since removed operations may allow more
	b.reach()
	b.bump()
	b.trim()
	b.fuse()
	b.process()
	b.tidy()
	b.markOwn()
	if err := b.check(); err != nil {
		return nil, err
	}
	b.Context = b.in[0]&(1<<program.R1) != 0 && !t.Helper
	b.frame()
	b.stacks()
	return b.Plan, nil
}

// markOwn finds the atomic operations that no other thread can interfere with.
func (b *builder) markOwn() {
	for i := range b.Ops {
		fact := &b.result.Facts[i]
		b.Ops[i].Own = b.Ops[i].Kind == Atomic && fact.Region == verify.MapValue && fact.Map >= 0 && b.Target.Maps[fact.Map].Slotted
	}
}

// sound checks the verifier's promises in a result, as far as the compiler would crash without
// them.
func sound(r *verify.Result, t *Target) error {
	p := r.Program
	switch {
	case len(p.Insns) == 0 || len(p.Funcs) == 0 || p.Funcs[0].Start != 0:
		return fmt.Errorf("%s: no program", p.Name)
	case len(r.Facts) != len(p.Insns):
		return fmt.Errorf("%s: %d facts of %d instructions", p.Name, len(r.Facts), len(p.Insns))
	case len(t.Maps) < len(p.Maps):
		return fmt.Errorf("%s: target has %d of %d maps", p.Name, len(t.Maps), len(p.Maps))
	}
	for f := range p.Funcs {
		if start := p.Funcs[f].Start; start < 0 || start >= p.End(f) || p.End(f) > len(p.Insns) {
			return fmt.Errorf("%s: function %d starts at %d", p.Name, f, start)
		}
	}
	for i, in := range p.Insns {
		if in.Dst > program.R10 || in.Src > program.R10 {
			return fmt.Errorf("%s: instruction %d: no such register", p.Name, i)
		}
		if f := p.FuncAt(i); in.IsJump() && (in.Target(i) < p.Funcs[f].Start || in.Target(i) >= p.End(f)) {
			return fmt.Errorf("%s: instruction %d: jump out of the function", p.Name, i)
		}
	}
	return nil
}

// sizeOf is the size of a register word in bytes.
const sizeOf = 8

// frame finds which words of the frame are accessed other than by name. If fold has lost track of a
// pointer to the context, the verifier's facts say what it points to, or it may point to any word.
func (b *builder) frame() {
	all := Words(1)<<uint(b.result.Context.Size/sizeOf) - 1
	for i := range b.Ops {
		o, fact := &b.Ops[i], &b.result.Facts[i]
		words := Words(0)
		switch o.Kind {
		case Load, LoadAcq, Store, StoreRel, Atomic:
			if o.Mem.Base == BaseFrame && o.Kind != Load && o.Kind != LoadAcq {
				b.stored |= 1 << uint(o.Mem.Off/sizeOf)
			}
			if o.Mem.Base >= BaseStack {
				break
			}
			if fact.Region == verify.Ctx && fact.Fixed {
				words = 1 << uint(fact.Off/sizeOf)
			} else if fact.Region == verify.Ctx || fact.Region == verify.Mixed {
				words = all
			}
		case Call:
			words = contextOf(int32(o.Imm)) & all
		}
		b.Reads |= words
		if o.Kind == Store || o.Kind == StoreRel || o.Kind == Atomic {
			b.Writes |= words
		}
	}
}

// contextOf returns the words of the context that a helper reads.
func contextOf(num int32) Words {
	h := program.Helpers[num]
	if h == nil || num == program.FnPerfEventOutput { // it takes the context only because the kernel's does
		return 0
	}
	for _, a := range h.Args {
		if a == program.ArgCtx {
			return ^Words(0)
		}
	}
	return 0
}

// stacks finds how much of its stack frame each function needs.
func (b *builder) stacks() {
	for f := range b.Funcs {
		fn := &b.Funcs[f]
		deepest := int64(0)
		for i := fn.Start; i < fn.End; i++ {
			if o := &b.Ops[i]; o.Kind != Nop && o.Mem.Base == BaseStack && o.hasMem() {
				deepest = min(deepest, o.Mem.Off)
			}
		}
		fn.Stack = int(-deepest)
		if b.escapes(f) {
			fn.Stack = max(fn.Stack, program.StackSize)
			if f < len(b.result.Stack) {
				fn.Stack = max(int(-deepest), b.result.Stack[f])
			}
		}
		fn.Stack = (fn.Stack + sizeOf - 1) &^ (sizeOf - 1)
	}
}

// hasMem reports whether Mem is used.
func (o *Op) hasMem() bool {
	switch o.Kind {
	case Address, Load, LoadAcq, Store, StoreRel, Atomic:
		return true
	case Lookup:
		return o.Mem.Base != NoReg
	}
	return false
}

// escapes reports whether function f makes an address of its stack that outlives an operation: any
// access may then use it.
func (b *builder) escapes(f int) bool {
	for i := b.Funcs[f].Start; i < b.Funcs[f].End; i++ {
		switch o := &b.Ops[i]; o.Kind {
		case Address:
			if o.Mem.Base == BaseStack {
				return true
			}
		case Move, Alu, Store, StoreRel, Atomic, Jump:
			if o.Src == program.R10 || o.Dst == program.R10 && (o.Kind == Alu || o.Kind == Jump) {
				return true
			}
		}
	}
	return false
}

// check refuses operations that no target has code for.
func (b *builder) check() error {
	for i := range b.Ops {
		o := &b.Ops[i]
		if o.Kind != Call {
			continue
		}
		num := int32(o.Imm)
		if num != FnOwn {
			o.To = NoMap
		}
		if h := program.Helpers[num]; h != nil && slices.Contains(h.Args, program.ArgMap) {
			o.To = b.result.Facts[i].Map
		}
		if _, ok := b.Target.Helpers[Helper{num, o.To}]; !ok {
			name := "of that number"
			if h := program.Helpers[num]; h != nil {
				name = h.Name
			}
			return Refuse(b.Program, i, "the target has no helper %s (%d)", name, num)
		}
	}
	return nil
}
