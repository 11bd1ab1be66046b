package op

import (
	"fmt"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// The operations (DW_OP_), as DWARF 5, 7.7.1 numbers them.
const (
	opAddr        = 0x03
	opDeref       = 0x06
	opConst1u     = 0x08
	opConst8s     = 0x0f
	opConstu      = 0x10
	opConsts      = 0x11
	opDup         = 0x12
	opDrop        = 0x13
	opOver        = 0x14
	opPick        = 0x15
	opSwap        = 0x16
	opRot         = 0x17
	opAbs         = 0x19
	opAnd         = 0x1a
	opNeg         = 0x1f
	opNot         = 0x20
	opPlusUconst  = 0x23
	opXor         = 0x27
	opBra         = 0x28
	opEq          = 0x29
	opNe          = 0x2e
	opSkip        = 0x2f
	opLit0        = 0x30
	opReg0        = 0x50
	opBreg0       = 0x70
	opRegx        = 0x90
	opFbreg       = 0x91
	opBregx       = 0x92
	opPiece       = 0x93
	opDerefSize   = 0x94
	opNop         = 0x96
	opFormTLS     = 0x9b
	opCFA         = 0x9c
	opBitPiece    = 0x9d
	opImplicit    = 0x9e
	opStackValue  = 0x9f
	opImplicitPtr = 0xa0
	opAddrx       = 0xa1
	opConstx      = 0xa2
	opEntryValue  = 0xa3
	opConstType   = 0xa4
	opRegvalType  = 0xa5
	opDerefType   = 0xa6
	opConvert     = 0xa8
	opReinterpret = 0xa9

	opGNUTLS         = 0xe0
	opGNUImplicitPtr = 0xf2
	opGNUEntryValue  = 0xf3
	opGNUConstType   = 0xf4
	opGNURegvalType  = 0xf5
	opGNUDerefType   = 0xf6
	opGNUConvert     = 0xf7
	opGNUAddrIndex   = 0xfb
	opGNUConstIndex  = 0xfc
	opGNUVariable    = 0xfd
)

// names are the operations that can be no Term, as errors name them.
var names = map[byte]string{
	opBra: "DW_OP_bra", opSkip: "DW_OP_skip", 0x18: "DW_OP_xderef", 0x97: "DW_OP_push_object_address", 0x98: "DW_OP_call2",
	0x99: "DW_OP_call4", 0x9a: "DW_OP_call_ref", opGNUVariable: "DW_OP_GNU_variable_value", opAbs: "DW_OP_abs", opBitPiece: "DW_OP_bit_piece",
}

// twos are the operations on two values.
var twos = map[byte]Kind{
	opAnd: And, 0x1b: Div, 0x1c: Sub, 0x1d: Mod, 0x1e: Mul, 0x21: Or, 0x22: Add, 0x24: Shl, 0x25: Shr, 0x26: Shra, opXor: Xor,
	opEq: Eq, 0x2a: Ge, 0x2b: Gt, 0x2c: Le, 0x2d: Lt, opNe: Ne,
}

// step does one operation.
func (r *reader) step(op byte) error {
	switch {
	case op >= opLit0 && op < opReg0:
		r.constant(int64(op - opLit0))
	case op >= opReg0 && op < opBreg0:
		r.register(uint64(op - opReg0))
	case op >= opBreg0 && op < opRegx:
		r.plus(&Term{Kind: Reg, N: int64(op - opBreg0)}, r.SLEB())
	case op >= opConst1u && op <= opConst8s:
		r.number(op)
	case twos[op] != 0:
		y := r.pop()
		r.push(&Term{Kind: twos[op], X: r.pop(), Y: y})
	case op >= opDup && op <= opRot:
		r.shuffle(op)
	default:
		return r.other(op)
	}
	return nil
}

// number pushes a constant of 1, 2, 4 or 8 bytes.
func (r *reader) number(op byte) {
	size := 1 << ((op - opConst1u) / 2)
	n := int64(r.Uint(size))
	if op&1 == 1 { // with a sign
		shift := uint(64 - 8*size)
		n = n << shift >> shift
	}
	r.constant(n)
}

// register says that the value is in a register.
func (r *reader) register(n uint64) {
	r.is(Piece{Kind: Register, Term: &Term{Kind: Reg, N: int64(min(n, 1<<31))}})
}

// plus pushes a value with something added.
func (r *reader) plus(t *Term, n int64) {
	switch {
	case n == 0:
		r.push(t)
	case t.Kind == Const || t.Kind == Static:
		r.push(&Term{Kind: t.Kind, N: t.N + n})
	case t.Kind == Add && t.Y.Kind == Const:
		r.push(&Term{Kind: Add, X: t.X, Y: &Term{Kind: Const, N: t.Y.N + n}})
	default:
		r.push(&Term{Kind: Add, X: t, Y: &Term{Kind: Const, N: n}})
	}
}

// shuffle moves values.
func (r *reader) shuffle(op byte) {
	switch op {
	case opDup:
		r.pick(0)
	case opDrop:
		r.pop()
	case opOver:
		r.pick(1)
	case opPick:
		r.pick(int(r.U8()))
	case opSwap:
		a, b := r.pop(), r.pop()
		r.push(a)
		r.push(b)
	case opRot:
		a, b, c := r.pop(), r.pop(), r.pop()
		r.push(a)
		r.push(c)
		r.push(b)
	}
}

// other does the operations that are single.
func (r *reader) other(op byte) error {
	switch op {
	case opAddr:
		r.push(&Term{Kind: Static, N: int64(r.Uint(r.ctx.AddrSize))})
	case opAddrx, opGNUAddrIndex, opConstx, opGNUConstIndex:
		return r.indexed(op)
	case opConstu:
		r.constant(int64(r.ULEB()))
	case opConsts:
		r.constant(r.SLEB())
	case opPlusUconst:
		r.plus(r.pop(), int64(r.ULEB()))
	case opNeg:
		r.push(&Term{Kind: Neg, X: r.pop()})
	case opNot:
		r.push(&Term{Kind: Not, X: r.pop()})
	case opDeref:
		r.push(&Term{Kind: Deref, Size: r.ctx.AddrSize, X: r.pop()})
	case opDerefSize:
		return r.deref(int(r.U8()), false)
	case opRegx:
		r.register(r.ULEB())
	case opBregx:
		t := &Term{Kind: Reg, N: int64(min(r.ULEB(), 1<<31))}
		r.plus(t, r.SLEB())
	case opFbreg:
		return r.frame(r.SLEB())
	case opCFA:
		r.push(&Term{Kind: CFA})
	case opFormTLS, opGNUTLS:
		r.push(&Term{Kind: TLS, X: r.pop()})
	case opNop, opReinterpret:
		if op == opReinterpret {
			r.ULEB()
		}
	default:
		return r.piecewise(op)
	}
	return nil
}

// deref reads a number at the last value.
func (r *reader) deref(size int, signed bool) error {
	switch size {
	case 1, 2, 4, 8:
	default:
		return fmt.Errorf("%w: a number of %d bytes", raw.ErrFormat, size)
	}
	t := &Term{Kind: Deref, Size: size, X: r.pop()}
	if signed {
		t = &Term{Kind: Cast, Size: size, Signed: true, X: t}
	}
	r.push(t)
	return nil
}

// indexed pushes what the unit's table of addresses has.
func (r *reader) indexed(op byte) error {
	if r.ctx.Addr == nil {
		return fmt.Errorf("%w: an address without a table", ErrUnsupported)
	}
	n, err := r.ctx.Addr(r.ULEB())
	if err != nil {
		return err
	}
	if op == opConstx || op == opGNUConstIndex {
		r.constant(int64(n))
		return nil
	}
	r.push(&Term{Kind: Static, N: int64(n)})
	return nil
}

// frame pushes the function's frame base, with something added.
func (r *reader) frame(off int64) error {
	if r.ctx.FrameBase == nil || r.inside > 0 {
		return fmt.Errorf("%w: a frame without a base", ErrUnsupported)
	}
	expr, err := r.ctx.FrameBase()
	if err != nil {
		return err
	}
	base := reader{Buf: raw.Buf{B: expr}, ctx: r.ctx, inside: r.inside + 1}
	if err := base.run(); err != nil {
		return err
	}
	switch p := base.pieces[0]; p.Kind {
	case Memory, Register, Value: // a register as base is what is in it
		r.plus(p.Term, off)
		return nil
	}
	return fmt.Errorf("%w: a frame without a base", ErrUnsupported)
}

// piecewise does the operations that say what a piece is, and those with types.
func (r *reader) piecewise(op byte) error {
	switch op {
	case opPiece:
		r.piece(r.ULEB())
	case opStackValue:
		r.is(Piece{Kind: Value, Term: r.pop()})
	case opImplicit:
		r.is(Piece{Kind: Bytes, Bytes: r.Bytes(r.ULEB())})
	case opImplicitPtr, opGNUImplicitPtr:
		r.Uint(4) // in DWARF of 64 bits 8, of which nothing is known here: what follows ends the expression
		r.Off = len(r.B)
		r.is(Piece{Kind: Pointer})
	case opEntryValue, opGNUEntryValue:
		return r.entry(r.Bytes(r.ULEB()))
	case opConstType, opGNUConstType:
		return r.constType()
	case opRegvalType, opGNURegvalType:
		n := r.ULEB()
		r.push(&Term{Kind: Reg, N: int64(min(n, 1<<31))})
		return r.convert(r.ULEB())
	case opDerefType, opGNUDerefType:
		size := int(r.U8())
		_, signed, ok := r.base(r.ULEB())
		if !ok {
			return fmt.Errorf("%w: a number that is no integer", ErrUnsupported)
		}
		return r.deref(size, signed)
	case opConvert, opGNUConvert:
		return r.convert(r.ULEB())
	default:
		if name := names[op]; name != "" {
			return fmt.Errorf("%w: %s", ErrUnsupported, name)
		}
		return fmt.Errorf("%w: operation %#x", ErrUnsupported, op)
	}
	return nil
}

// entry pushes what an expression was at the function's entry: a register, which its caller has set.
func (r *reader) entry(expr []byte) error {
	in := reader{Buf: raw.Buf{B: expr}, ctx: r.ctx, inside: r.inside + 1}
	if in.inside > 2 {
		return fmt.Errorf("%w: entry values of entry values", ErrUnsupported)
	}
	if err := in.run(); err != nil {
		return err
	}
	p := in.pieces[0]
	if p.Kind != Register && (p.Term == nil || p.Term.Kind != Reg && p.Term.Kind != Cast) {
		return fmt.Errorf("%w: an entry value that is no register", ErrUnsupported)
	}
	t := *p.Term
	if t.Kind == Cast {
		x := *t.X
		x.Kind = Entry
		t.X = &x
	} else {
		t.Kind = Entry
	}
	r.push(&t)
	return nil
}

func (r *reader) base(off uint64) (size int, signed, ok bool) {
	if off == 0 {
		return r.ctx.AddrSize, false, true
	}
	if r.ctx.Base == nil {
		return 0, false, false
	}
	return r.ctx.Base(off)
}

// convert makes the last value one of another type.
func (r *reader) convert(off uint64) error {
	size, signed, ok := r.base(off)
	if !ok {
		return fmt.Errorf("%w: a number that is no integer", ErrUnsupported)
	}
	t := r.pop()
	if size < 8 {
		t = &Term{Kind: Cast, Size: size, Signed: signed, X: t}
	}
	r.push(t)
	return nil
}

// constType pushes a constant of a type.
func (r *reader) constType() error {
	_, signed, ok := r.base(r.ULEB())
	size := int(r.U8())
	b := raw.Buf{B: r.Bytes(uint64(size))}
	n := int64(b.Uint(size))
	if !ok || b.Err != nil {
		return fmt.Errorf("%w: a number that is no integer", ErrUnsupported)
	}
	if shift := uint(64 - 8*size); signed {
		n = n << shift >> shift
	}
	r.constant(n)
	return nil
}
