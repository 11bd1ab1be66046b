package op

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// shown writes pieces for a test.
func shown(list []Piece) string {
	var words []string
	for _, p := range list {
		s := [...]string{"gone", "memory", "register", "value", "bytes", "pointer"}[p.Kind]
		if p.Term != nil {
			s += " " + p.Term.shown()
		}
		if p.Kind == Bytes {
			s += fmt.Sprintf(" %x", p.Bytes)
		}
		if p.Size != 0 {
			s += fmt.Sprintf(" :%d", p.Size)
		}
		words = append(words, s)
	}
	return strings.Join(words, "; ")
}

var kindNames = [...]string{"const", "static", "reg", "entry", "cfa", "tls", "deref", "cast", "neg", "not", "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", ">>>", "==", "!=", "<", "<=", ">", ">="}

func (t *Term) shown() string {
	switch {
	case t == nil:
		return ""
	case t.Kind == Const:
		return fmt.Sprint(t.N)
	case t.Kind <= CFA:
		return fmt.Sprintf("%s%d", kindNames[t.Kind], t.N)
	case t.Y != nil:
		return fmt.Sprintf("(%s %s %s)", t.X.shown(), kindNames[t.Kind], t.Y.shown())
	}
	sign := ""
	if t.Signed {
		sign = "s"
	}
	return fmt.Sprintf("%s%s%d(%s)", kindNames[t.Kind], sign, t.Size, t.X.shown())
}

// context is what the tests' expressions refer to.
var context = Context{
	AddrSize:  8,
	Addr:      func(i uint64) (uint64, error) { return 0x1000 + i, nil },
	FrameBase: func() ([]byte, error) { return []byte{opCFA}, nil },
	Base: func(off uint64) (int, bool, bool) {
		switch off {
		case 4:
			return 4, true, true
		case 5:
			return 2, false, true
		}
		return 0, false, false
	},
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		expr []byte
		want string
	}{
		{nil, "gone"},
		{[]byte{opReg0 + 5}, "register reg5"},
		{[]byte{opRegx, 0x40}, "register reg64"},
		{[]byte{opBreg0 + 7, 16}, "memory (reg7 + 16)"},
		{[]byte{opBreg0 + 7, 0}, "memory reg7"},
		{[]byte{opBregx, 31, 0x78}, "memory (reg31 + -8)"},
		{[]byte{opFbreg, 0x68}, "memory (cfa0 + -24)"},
		{[]byte{opFbreg, 8, opDeref}, "memory deref8((cfa0 + 8))"},
		{[]byte{opFbreg, 8, opPlusUconst, 8}, "memory (cfa0 + 16)"},
		{[]byte{opAddr, 0x10, 0x20, 0, 0, 0, 0, 0, 0}, "memory static8208"},
		{[]byte{opAddrx, 2}, "memory static4098"},
		{[]byte{opConstx, 2, opStackValue}, "value 4098"},
		{[]byte{opLit0 + 3, opStackValue}, "value 3"},
		{[]byte{opConst1u, 0xff, opStackValue}, "value 255"},
		{[]byte{opConst1u + 1, 0xff, opStackValue}, "value -1"},
		{[]byte{opConst1u + 3, 0xfe, 0xff, opStackValue}, "value -2"},
		{[]byte{opConstu, 0x80, 0x01, opStackValue}, "value 128"},
		{[]byte{opConsts, 0x7f, opStackValue}, "value -1"},
		{[]byte{opBreg0 + 3, 0, opBreg0 + 4, 1, 0x22, opStackValue}, "value (reg3 + (reg4 + 1))"},
		{[]byte{opBreg0 + 3, 0, opLit0 + 2, 0x1c, opStackValue}, "value (reg3 - 2)"},
		{[]byte{opBreg0 + 3, 0, opNeg, opNot, opStackValue}, "value not0(neg0(reg3))"},
		{[]byte{opLit0 + 1, opLit0 + 2, opSwap, 0x1c, opStackValue}, "value (2 - 1)"},
		{[]byte{opLit0 + 1, opLit0 + 2, opOver, 0x1c, opStackValue}, "value (2 - 1)"},
		{[]byte{opLit0 + 1, opLit0 + 2, opLit0 + 3, opRot, opDrop, opStackValue}, "value 1"},
		{[]byte{opLit0 + 1, opDup, 0x22, opStackValue}, "value (1 + 1)"},
		{[]byte{opLit0 + 1, opLit0 + 2, opPick, 1, opStackValue}, "value 1"},
		{[]byte{opReg0, opPiece, 8, opReg0 + 3, opPiece, 4}, "register reg0 :8; register reg3 :4"},
		{[]byte{opReg0, opPiece, 8, opPiece, 4, opFbreg, 0, opPiece, 4}, "register reg0 :8; gone :4; memory cfa0 :4"},
		{[]byte{opImplicit, 2, 0xab, 0xcd}, "bytes abcd"},
		{[]byte{opImplicitPtr, 1, 0, 0, 0, 0}, "pointer"},
		{[]byte{opEntryValue, 1, opReg0 + 5, opStackValue}, "value entry5"},
		{[]byte{opGNUEntryValue, 1, opReg0 + 5, opPlusUconst, 3, opStackValue}, "value (entry5 + 3)"},
		{[]byte{opConst1u, 8, opFormTLS}, "memory tls0(8)"},
		{[]byte{opBreg0 + 1, 0, opDerefSize, 2, opStackValue}, "value deref2(reg1)"},
		{[]byte{opBreg0 + 1, 0, opDerefType, 4, 4, opStackValue}, "value casts4(deref4(reg1))"},
		{[]byte{opRegvalType, 3, 4, opConvert, 0, opStackValue}, "value casts4(reg3)"},
		{[]byte{opRegvalType, 3, 5, opStackValue}, "value cast2(reg3)"},
		{[]byte{opConstType, 4, 4, 0xff, 0xff, 0xff, 0xff, opStackValue}, "value -1"},
		{[]byte{opNop, opReg0}, "register reg0"},
	} {
		got, err := Read(c.expr, context)
		if err != nil || shown(got) != c.want {
			t.Errorf("%x: %q, %v; want %q", c.expr, shown(got), err, c.want)
		}
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct {
		expr        []byte
		unsupported bool
	}{
		{[]byte{0x22}, false},
		{[]byte{opDerefSize, 3}, false},
		{[]byte{opBreg0}, false},
		{[]byte{opPick, 3}, false},
		{[]byte{opImplicit, 9, 1}, false},
		{[]byte{opBra, 0, 0}, true},
		{[]byte{0x98, 0, 0}, true},
		{[]byte{0x01}, true},
		{[]byte{opRegvalType, 3, 9}, true},
		{[]byte{opEntryValue, 2, opLit0, opLit0}, true},
		{[]byte{opEntryValue, 3, opEntryValue, 1, opReg0}, true},
		{make([]byte, maxOps+10), true},
	} {
		got, err := Read(c.expr, context)
		if err == nil || errors.Is(err, ErrUnsupported) != c.unsupported {
			t.Errorf("%.8x: %q, %v", c.expr, shown(got), err)
		}
	}
	loop := context
	loop.FrameBase = func() ([]byte, error) { return []byte{opFbreg, 0}, nil }
	if _, err := Read([]byte{opFbreg, 0}, loop); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a frame base that is in itself: %v", err)
	}
	if _, err := Read([]byte{opAddrx, 0}, Context{AddrSize: 8}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("an index without a table: %v", err)
	}
}

// FuzzRead: any bytes give pieces or an error, in bounded time.
func FuzzRead(f *testing.F) {
	f.Add([]byte{opReg0, opPiece, 8, opPiece, 4, opFbreg, 0, opPiece, 4})
	f.Add([]byte{opLit0 + 1, opDup, 0x22, opDup, 0x22, opDup, 0x22, opStackValue})
	f.Add([]byte{opEntryValue, 1, opReg0 + 5, opRegvalType, 3, 4, opConvert, 0, opStackValue})
	f.Fuzz(func(t *testing.T, expr []byte) {
		list, err := Read(expr, context)
		if err == nil && len(list) == 0 {
			t.Error("neither a piece nor an error")
		}
		for _, p := range list {
			if p.Term.Terms() > maxTerms+maxOps {
				t.Errorf("%d terms", p.Term.Terms())
			}
		}
	})
}
