package scope

import (
	"github.com/ptracer/ptracer/symbols/dwarf/op"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
)

// passing assigns arguments, one after the other, to registers and the stack.
type passing struct {
	amd64, golang, rust, onStack bool
	llvm                         bool // not gcc
	hidden                       bool
	lost                         bool    // where an argument is, and so all behind it, is not known
	ints, floats                 []int64 // DWARF numbers of registers
	i, f                         int     // how many are used
	stack                        int64   // where the next argument on the stack is, from the stack pointer
	sp                           int64   // DWARF number
}

// begin goes to the first argument.
func (p *passing) begin() {
	if p.hidden {
		p.i++
	}
}

// results makes p assign results.
func (p *passing) results() {
	if p.amd64 && !p.golang {
		p.ints = []int64{0, 1} // rax, rdx
		p.floats = p.floats[:2]
	} else if !p.golang {
		p.ints = p.ints[:min(2, len(p.ints))]
	}
}

// Why a value is nowhere.
const (
	notTold = "how it, or an argument before it, is passed is not told"
	noBytes = "its type has no bytes"
)

// result returns where a result of a type is.
func (p *passing) result(t *types.Type) ([]op.Piece, string) {
	if p.onStack {
		return nil, "results lie behind the arguments on the stack"
	}
	c, err := p.classes(t)
	if err != nil {
		return nil, err.Error()
	}
	switch {
	case c.unknown:
		return nil, notTold
	case c.nothing:
		return nil, noBytes
	case c.x87:
		return nil, "in a register of floating point"
	}
	if c.memory || c.pointer {
		switch {
		case p.golang:
			return nil, "the result lies on the stack"
		case p.amd64:
			return []op.Piece{{Kind: op.Memory, Term: &op.Term{Kind: op.Reg, N: p.ints[0]}}}, ""
		}
		return nil, "the result lies where only the caller knows"
	}
	pieces, ok := p.registers(c)
	if !ok {
		return nil, "the result is in no register that is known"
	}
	return pieces, ""
}

// next returns where the next argument is.
func (p *passing) next(t *types.Type) ([]op.Piece, string) {
	c, err := p.classes(t)
	if err != nil {
		return nil, err.Error()
	}
	if p.lost = p.lost || c.unknown; p.lost {
		return nil, notTold
	}
	if c.nothing {
		return nil, noBytes
	}
	if c.pointer {
		if len(p.ints) > p.i {
			p.i++
			return []op.Piece{{Kind: op.Memory, Term: &op.Term{Kind: op.Reg, N: p.ints[p.i-1]}}}, ""
		}
		at := p.pushed(8, 8)
		return []op.Piece{{Kind: op.Memory, Term: &op.Term{Kind: op.Deref, Size: 8, X: at}}}, ""
	}
	if p.rust {
		return p.each(c), ""
	}
	if !c.memory && !p.onStack {
		if pieces, ok := p.registers(c); ok {
			return pieces, ""
		}
	}
	if p.amd64 && p.llvm && c.align == 16 && !c.memory && p.i < len(p.ints) { // of 128 bits: clang splits it before version 18
		p.lost = true
		return nil, notTold
	}
	align := c.align
	if !p.golang {
		align = max(align, 8)
	}
	return []op.Piece{{Kind: op.Memory, Term: p.pushed(c.size, align)}}, ""
}

// each assigns the parts of a value as if each were an argument: Rust's way.
func (p *passing) each(c class) (list []op.Piece) {
	at := int64(0)
	for _, one := range c.parts {
		if one.at > at {
			list = append(list, op.Piece{Kind: op.Gone, Size: one.at - at})
		}
		at = one.at + one.size
		own := class{parts: []part{{size: one.size, float: one.float}}, size: one.size}
		if pieces, ok := p.registers(own); ok {
			list = append(list, pieces...)
			continue
		}
		list = append(list, op.Piece{Kind: op.Memory, Term: p.pushed(one.size, 8), Size: one.size})
	}
	if at < c.size {
		list = append(list, op.Piece{Kind: op.Gone, Size: c.size - at})
	}
	return list
}

// pushed is the address of the next argument on the stack.
func (p *passing) pushed(size, align int64) *op.Term {
	base := int64(0)
	if p.amd64 || p.golang {
		base = 8 // the return address; Go on arm64 has one word for the link register
	}
	p.stack = (p.stack-base+align-1)/align*align + base
	at := p.stack
	if p.golang {
		p.stack += size
	} else {
		p.stack += (size + 7) / 8 * 8
	}
	return &op.Term{Kind: op.Add, X: &op.Term{Kind: op.Reg, N: p.sp}, Y: &op.Term{Kind: op.Const, N: at}}
}

// registers takes the registers of a value, all or none.
func (p *passing) registers(c class) ([]op.Piece, bool) {
	i, f := p.i, p.f
	var list []op.Piece
	at := int64(0)
	if c.even && i%2 == 1 && !p.amd64 && !p.golang {
		i++
	}
	for _, part := range c.parts {
		regs, n := p.ints, &i
		if part.float {
			regs, n = p.floats, &f
		}
		if *n >= len(regs) {
			if !p.amd64 && !p.golang { // AAPCS64: what follows goes to the stack, too
				if part.float {
					p.f = len(p.floats)
				} else {
					p.i = len(p.ints)
				}
			}
			return nil, false
		}
		if part.at > at { // padding
			list = append(list, op.Piece{Kind: op.Gone, Size: part.at - at})
		}
		list = append(list, op.Piece{Kind: op.Register, Term: &op.Term{Kind: op.Reg, N: regs[*n]}, Size: part.size})
		at = part.at + part.size
		*n++
	}
	if at < c.size {
		list = append(list, op.Piece{Kind: op.Gone, Size: c.size - at})
	}
	p.i, p.f = i, f
	return list, true
}
