package bind

import (
	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
)

// isChar reports whether a type is one of characters or bytes.
func (b *binder) isChar(o of) bool {
	t, err := b.strip(o)
	if err != nil || t == nil || t.Size != 1 {
		return false
	}
	switch t.Kind {
	case types.Char, types.UChar:
		return true
	case types.Uint:
		return true
	}
	return false
}

// textOf is the text of an operand: of a string of any language, of an array of characters, or of what a
// pointer to a character leads to. room is how long it can be, 0 if nothing tells.
func (b *binder) textOf(x operand) (str *expr.Call, room int64, ok bool, err error) {
	if x.str != nil {
		return x.str, 0, true, nil
	}
	if x.comm || x.text != nil || x.of.t == nil {
		return nil, 0, false, nil
	}
	if to, is, err := b.pointee(x.of); is || err != nil {
		if err != nil || !b.isChar(to) {
			return nil, 0, false, err
		}
		at, err := b.number(x)
		return call("str", at), 0, err == nil, err
	}
	s, is, err := b.sequence(x)
	if err != nil || !is || !b.isChar(s.elem) {
		return nil, 0, false, err
	}
	if s.at != nil {
		return call("str", s.at, s.count), 0, true, nil
	}
	if x.addr == nil {
		return nil, 0, false, nil
	}
	n, _ := s.count.(*expr.Number)
	if n != nil {
		room = int64(n.Value)
	}
	return call("str", x.addr), room, true, nil
}

// strOf binds str(x): of a pointer to characters, a string, or an address; str(x, n) is n bytes there.
func (b *binder) strOf(n *expr.Call, x operand) (operand, error) {
	if len(n.Args) == 2 {
		size, err := b.numberOf(n.Args[1])
		if err != nil {
			return x, err
		}
		at := x.addr
		if t, _ := b.strip(x.of); t == nil || t.Kind != types.Array || at == nil {
			if at, err = b.number(x); err != nil {
				return x, err
			}
		}
		return operand{pos: n.Pos(), str: call("str", at, size)}, nil
	}
	text, _, ok, err := b.textOf(x)
	if err != nil {
		return x, err
	}
	if ok {
		return operand{pos: n.Pos(), str: text, name: x.name}, nil
	}
	at, err := b.number(x)
	return operand{pos: n.Pos(), str: call("str", at)}, err
}

// compareText binds the comparison of a string with a literal.
func (b *binder) compareText(n *expr.Binary, x, y operand) (operand, error) {
	if x.text != nil {
		x, y = y, x
	}
	if y.text == nil || x.text != nil {
		return x, b.fail(n.Pos(), `a string is compared with a literal, as "text"`)
	}
	var with expr.Node = &expr.Name{Name: "comm"}
	if !x.comm {
		text, _, ok, err := b.textOf(x)
		if err != nil {
			return x, err
		}
		if !ok {
			return x, b.fail(x.pos, "%s is no string: %s", x.shown(), b.typeName(x.of))
		}
		with = text
	}
	return operand{pos: n.Pos(), word: &expr.Binary{Op: n.Op, X: with, Y: y.text}}, nil
}
