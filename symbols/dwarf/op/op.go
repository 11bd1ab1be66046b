// Package op reads the expressions by which debug information says where a value is, or what it is.
// It computes nothing: what it returns is a Term over registers and memory of the moment, which a
// debugger evaluates and a handler is compiled from.
package op

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// ErrUnsupported is wrapped by errors about expressions that can be no Term.
var ErrUnsupported = errors.New("not supported in a location")

// Kind is what a Term is.
type Kind uint8

// The kinds of terms. All values have 64 bits.
const (
	Const  Kind = iota // N
	Static             // address N of the file, which is loaded somewhere
	Reg                // register N, by DWARF number
	Entry              // what register N held at the function's entry
	CFA                // the address of the frame, as call frame information has it
	TLS                // address of variable X of the thread, by its offset in the file's block
	Deref              // the unsigned number of Size bytes at address X
	Cast               // the low Size bytes of X, extended with its sign if Signed
	Neg                // -X
	Not                // ~X
	Add                // X + Y, and so on
	Sub
	Mul
	Div // signed
	Mod // unsigned
	And
	Or
	Xor
	Shl
	Shr  // fills up with 0
	Shra // fills up with the sign
	Eq   // 1 or 0; the comparisons are signed
	Ne
	Lt
	Le
	Gt
	Ge
)

// Term is a value, to be computed from registers and memory.
type Term struct {
	Kind   Kind
	N      int64
	Size   int
	Signed bool
	X, Y   *Term
}

// PieceKind says where a piece of a value is.
type PieceKind uint8

// The places of pieces.
const (
	Gone     PieceKind = iota // the optimiser has left nothing of it
	Memory                    // at address Term
	Register                  // in register Term.N
	Value                     // it is Term
	Bytes                     // it is these bytes
	Pointer                   // it is a pointer to what is nowhere in memory
)

// Piece is a part of a value, or the whole.
type Piece struct {
	Kind  PieceKind
	Term  *Term
	Bytes []byte
	Size  int64 // in bytes; 0: the whole value
}

// Context is what expressions refer to. A function that is nil makes them fail.
type Context struct {
	AddrSize int
	// Addr returns address number i of the unit's table.
	Addr func(i uint64) (uint64, error)
	// FrameBase returns the expression of the function's frame base.
	FrameBase func() ([]byte, error)
	// Base returns the size of the base type at an offset in the unit, and whether it has a sign. It
	// reports false for types that are no integers.
	Base func(off uint64) (size int, signed, ok bool)
}

// Limits of an expression.
const (
	maxOps    = 1000
	maxStack  = 64
	maxPieces = 256
	maxTerms  = 10000
)

// Read reads an expression: the pieces of a value, in their order. One without bytes says that
// nothing is left of the value.
func Read(expr []byte, ctx Context) ([]Piece, error) {
	r := reader{Buf: raw.Buf{B: expr}, ctx: ctx}
	if err := r.run(); err != nil {
		return nil, err
	}
	return r.pieces, nil
}

// reader reads one expression.
type reader struct {
	raw.Buf
	ctx    Context
	stack  []*Term
	pieces []Piece
	now    Piece // what the last operation has made the next piece, but for its size
	named  bool  // now is set
	inside int   // how many expressions this one is in
}

func (r *reader) run() error {
	for n := 0; r.Left() > 0; n++ {
		if n > maxOps || len(r.stack) > maxStack || len(r.pieces) > maxPieces {
			return fmt.Errorf("%w: an expression without an end", raw.ErrFormat)
		}
		if err := r.step(r.U8()); err != nil {
			return err
		}
		if r.Err != nil {
			return r.Err
		}
	}
	if len(r.pieces) == 0 {
		r.piece(0)
	}
	return nil
}

// piece ends a piece of size bytes.
func (r *reader) piece(size uint64) {
	p := r.now
	if !r.named && len(r.stack) > 0 {
		p = Piece{Kind: Memory, Term: r.stack[len(r.stack)-1]}
	}
	p.Size = int64(min(size, 1<<62))
	r.pieces = append(r.pieces, p)
	r.now, r.named, r.stack = Piece{}, false, r.stack[:0]
}

// is says what the next piece is.
func (r *reader) is(p Piece) { r.now, r.named = p, true }

func (r *reader) push(t *Term) { r.stack = append(r.stack, t) }

func (r *reader) constant(n int64) { r.push(&Term{Kind: Const, N: n}) }

// pop takes the last value.
func (r *reader) pop() *Term {
	if len(r.stack) == 0 {
		r.Fail(fmt.Errorf("%w: an expression takes more values than it has", raw.ErrFormat))
		return &Term{}
	}
	t := r.stack[len(r.stack)-1]
	r.stack = r.stack[:len(r.stack)-1]
	return t
}

// pick pushes a value again, counted from the last one.
func (r *reader) pick(i int) {
	if i >= len(r.stack) {
		r.pop()
		r.Fail(raw.ErrFormat)
		return
	}
	r.push(r.stack[len(r.stack)-1-i])
}

// Terms returns how many terms a value has; a part that is used twice counts twice.
func (t *Term) Terms() int { return t.terms(0) }

func (t *Term) terms(n int) int {
	if t == nil || n > maxTerms {
		return n
	}
	return t.Y.terms(t.X.terms(n + 1))
}
