package amd64

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

func TestSigactionGate(t *testing.T) {
	b := arch.Buffer{Addr: 0x1000}
	if err := ISA.SigactionGate(&b, 0x2000, 0x12345); err != nil {
		t.Fatal(err)
	}
	// As objdump has it: what is jumped over, and where to.
	const want = "83ff057568" + "488da42458ffffff" + "48897c2408" + "4889742410" + "4889542418" + "4c89542420" + "48c7042400000000" +
		"31ff31f6" + "4889e2" + "41ba08000000" + "b80e000000" + "0f05" + "f6042410" + "740c" + "b827000000" + "0f05" + "3d45230100" +
		"488b7c2408" + "488b742410" + "488b542418" + "4c8b542420" + "488da424a8000000" + "740c" + "b80d000000" + "0f05" + "e9870f0000"
	if got := hex.EncodeToString(b.Code); got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
	if err := ISA.SigactionGate(&b, 1<<40, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("out of reach: %v", err)
	}
	for code, ok := range map[string]bool{"b80d000000": true, "b80e000000": false, "b80d0000": false, "48c7c00d000000": false} {
		if c, _ := hex.DecodeString(code); ISA.LoadsNumber(c, 13) != ok {
			t.Error(code)
		}
	}
}

func TestWrapperGate(t *testing.T) {
	b := arch.Buffer{Addr: 0x1000}
	if err := ISA.WrapperGate(&b, 0x2000); err != nil {
		t.Fatal(err)
	}
	// As objdump has it: cmp eax, 13; jne behind; cmp edi, 5; je 0x2000.
	const want = "83f80d" + "7509" + "83ff05" + "0f84f20f0000"
	if got := hex.EncodeToString(b.Code); got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
	if err := ISA.WrapperGate(&b, 1<<40); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("out of reach: %v", err)
	}
	for code, ok := range map[string]bool{"4889f8": true, "89f8": true, "4889f7": false, "48": false} {
		if c, _ := hex.DecodeString(code); ISA.TakesNumber(c) != ok {
			t.Error(code)
		}
	}
}
