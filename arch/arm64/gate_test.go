package arm64

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"

	"github.com/ptracer/ptracer/arch"
)

// TestSigactionGate follows the branches: a call about another signal than SIGTRAP, or in another
// process, is made in the gate; any other continues behind it.
func TestSigactionGate(t *testing.T) {
	b := arch.Buffer{Addr: 0x1000}
	if err := ISA.SigactionGate(&b, 0x2000, 0x12345); err != nil {
		t.Fatal(err)
	}
	insts := make([]arm64asm.Inst, len(b.Code)/instLen)
	calls := map[int]bool{}
	for i := range insts {
		var err error
		if insts[i], err = arm64asm.Decode(b.Code[i*instLen:]); err != nil {
			t.Fatalf("instruction %d: %v", i, err)
		}
		calls[i] = insts[i].Op == arm64asm.SVC
	}
	to := func(i, arg int) int { return i + int(insts[i].Args[arg].(arm64asm.PCRel))/instLen }
	for i, in := range insts {
		switch in.Op {
		case arm64asm.CBNZ: // to the way out that makes the call
			if end := to(i, 1) + 4; !calls[end+1] || insts[end+2].Op != arm64asm.B || b.Addr+arch.Addr(to(end+2, 0)*instLen) != 0x2000 {
				t.Errorf("%d: %v leads to %v", i, in, insts[to(i, 1)])
			}
		case arm64asm.TBZ, arm64asm.CBZ: // to the one that does not
			arg := map[arm64asm.Op]int{arm64asm.TBZ: 2, arm64asm.CBZ: 1}[in.Op]
			if to(i, arg) != len(insts)-4 {
				t.Errorf("%d: %v leads to %d of %d", i, in, to(i, arg), len(insts))
			}
		}
	}
	if w := binary.LittleEndian.Uint32(b.Code[len(b.Code)-4:]); w != 0x910143ff { // add sp, sp, #80
		t.Errorf("ends with %08x", w)
	}
	if err := ISA.SigactionGate(&b, 1<<40, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("out of reach: %v", err)
	}
	for code, ok := range map[string]bool{"c81080d2": true, "c8108052": true, "e81080d2": false, "c810": false} {
		if c, _ := hex.DecodeString(code); ISA.LoadsNumber(c, 134) != ok {
			t.Error(code)
		}
	}
}

func TestWrapperGate(t *testing.T) {
	b := arch.Buffer{Addr: 0x1000}
	if err := ISA.WrapperGate(&b, 0x2000); err != nil {
		t.Fatal(err)
	}
	// As objdump has it: cmp w8, #134; b.ne behind; cmp w0, #5; b.ne behind; b 0x2000.
	const want = "1f190271" + "81000054" + "1f140071" + "41000054" + "fc030014"
	if got := hex.EncodeToString(b.Code); got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
	if err := ISA.WrapperGate(&b, 1<<40); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("out of reach: %v", err)
	}
	for code, ok := range map[string]bool{"e803002a": true, "e80300aa": true, "e003012a": false} {
		if c, _ := hex.DecodeString(code); ISA.TakesNumber(c) != ok {
			t.Error(code)
		}
	}
}
