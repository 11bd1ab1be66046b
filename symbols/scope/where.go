package scope

import (
	sd "debug/dwarf"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/dwarf/op"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
	"github.com/ptracer/ptracer/symbols/frames"
)

// where finds where a variable's value is at the scope's address.
func (s *Scope) where(v *Variable, e dwarf.Entry) error {
	if e.Tag() == sd.TagVariable && e.Flag(sd.AttrDeclaration) && !e.Has(sd.AttrLocation) {
		v.Why = "only declared here"
		return nil
	}
	if of, ok := e.With(sd.AttrConstValue); ok && !e.Has(sd.AttrLocation) {
		val, _ := of.Val(sd.AttrConstValue)
		v.constant(val)
		return nil
	}
	if s.point == AtExit && (v.Param || e.Has(sd.AttrLocation) && s.isLocal(e)) {
		v.Why = "gone at an exit"
		return nil
	}
	if s.point == AtEntry && e.Has(sd.AttrLocation) && s.isLocal(e) {
		v.Why = "not set yet: the function begins here"
		return nil
	}
	of, ok := e.With(sd.AttrLocation)
	if !ok {
		v.Why = optimisedOut
		return nil
	}
	expr, err := s.exprOf(of, sd.AttrLocation)
	if err != nil {
		return err
	}
	return s.read(v, of, expr)
}

// isLocal reports whether a variable's place depends on the function's frame or registers.
func (s *Scope) isLocal(e dwarf.Entry) bool {
	list, err := e.Locations(sd.AttrLocation)
	return err != nil || len(list) != 1 || len(list[0].Expr) == 0 || list[0].Expr[0] != opAddr && list[0].Expr[0] != opAddrx
}

// The operations with which the places of variables begin that lie in the file.
const (
	opAddr  = 0x03
	opAddrx = 0xa1
)

// constant is a value that is the same everywhere.
func (v *Variable) constant(val dwarf.Value) {
	if n, ok := val.Int(); ok {
		v.Pieces = []op.Piece{{Kind: op.Value, Term: &op.Term{Kind: op.Const, N: n}}}
		return
	}
	if b, ok := val.Block(); ok {
		v.Pieces = []op.Piece{{Kind: op.Bytes, Bytes: b}}
		return
	}
	v.Why = "a constant in a form that is not known"
}

// exprOf returns the expression of an attribute at the scope's address, nil if there is none.
func (s *Scope) exprOf(e dwarf.Entry, attr sd.Attr) ([]byte, error) {
	list, err := e.Locations(attr)
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		if l.Contains(uint64(s.at)) {
			return l.Expr, nil
		}
	}
	return nil, nil
}

// read makes pieces of an expression.
func (s *Scope) read(v *Variable, e dwarf.Entry, expr []byte) error {
	if len(expr) == 0 {
		v.Why = optimisedOut
		return nil
	}
	pieces, err := op.Read(expr, s.context(e.Unit()))
	if errors.Is(err, op.ErrUnsupported) {
		v.Why = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	for i := range pieces {
		if pieces[i].Term.Terms() > maxTerms {
			v.Why = "its place is too long an expression"
			return nil
		}
		t, why := s.resolve(pieces[i].Term, 0)
		if why != "" {
			v.Why = why
			return nil
		}
		pieces[i].Term = t
	}
	v.Pieces = pieces
	if all(pieces, op.Gone) {
		v.Pieces, v.Why = nil, optimisedOut
	}
	return nil
}

func all(pieces []op.Piece, kind op.PieceKind) bool {
	for _, p := range pieces {
		if p.Kind != kind {
			return false
		}
	}
	return true
}

// context is what expressions of a unit refer to.
func (s *Scope) context(u *dwarf.Unit) op.Context {
	return op.Context{
		AddrSize: u.AddressSize(),
		Addr:     u.AddrAt,
		FrameBase: func() ([]byte, error) {
			expr, err := s.exprOf(s.chain[0], sd.AttrFrameBase)
			if err == nil && len(expr) == 0 {
				err = fmt.Errorf("%w: a frame without a base", op.ErrUnsupported)
			}
			return expr, err
		},
		Base: func(off uint64) (size int, signed, ok bool) {
			e, err := u.EntryAt(u.Offset() + off)
			if err != nil || e.Tag() != sd.TagBaseType {
				return 0, false, false
			}
			t, err := s.of.types.Type(e)
			if err != nil || t.Size > 8 {
				return 0, false, false
			}
			switch t.Kind {
			case types.Int, types.Char, types.Uint, types.UChar, types.Bool, types.Address:
				return int(t.Size), t.Kind == types.Int || t.Kind == types.Char && !t.Unicode, true
			}
			return 0, false, false
		},
	}
}

// resolve replaces what depends on the frame by registers; why says what can't be replaced.
func (s *Scope) resolve(t *op.Term, depth int) (of *op.Term, why string) {
	if t == nil || depth > maxDepth {
		return t, ""
	}
	switch t.Kind {
	case op.CFA:
		return s.cfa()
	case op.Entry:
		if s.point == AtEntry {
			return &op.Term{Kind: op.Reg, N: t.N}, ""
		}
		return nil, "optimised out: only the caller may still know it"
	case op.TLS:
		return nil, "a variable of the thread: where threads have theirs is not known to handlers"
	}
	c := *t
	if c.X, why = s.resolve(t.X, depth+1); why == "" {
		c.Y, why = s.resolve(t.Y, depth+1)
	}
	return &c, why
}

const (
	maxDepth = 100
	maxTerms = 1000 // of a place
)

// cfa is the address of the frame, by call frame information. At a function's entry the stack pointer
// tells it.
func (s *Scope) cfa() (*op.Term, string) {
	row, ok := s.of.file.Unwind(s.at)
	if !ok || row.PLT {
		return nil, "where the frame is, nothing tells here"
	}
	return frameOf(row), ""
}

// frameOf is the address of a frame as a term.
func frameOf(row frames.Row) *op.Term {
	t := &op.Term{Kind: op.Add, X: &op.Term{Kind: op.Reg, N: int64(row.Reg)}, Y: &op.Term{Kind: op.Const, N: row.Off}}
	if row.Deref {
		return &op.Term{Kind: op.Deref, Size: 8, X: t}
	}
	return t
}

// Register is the kernel's name of a register with a DWARF number. It reports false for those that
// handlers do not see: of floating point and vectors.
func (s *Scope) Register(n int64) (string, bool) {
	word, ok := s.of.isa.DwarfReg(int(min(n, 1<<20)))
	if !ok {
		return "", false
	}
	return s.of.isa.RegNames()[word], true
}

// Addr is the scope's address in the file.
func (s *Scope) Addr() arch.Addr { return s.at }
