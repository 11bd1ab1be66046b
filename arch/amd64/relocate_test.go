package amd64

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// TestRelocateGolden shows slots at 0x500000, and at 0x7f0000500000 where the
// program is out of reach, of instructions at 0x401000. Fixes follow the code.
func TestRelocateGolden(t *testing.T) {
	const near, far = 0x500000, 0x7f0000500000
	for _, c := range []struct {
		code string
		at   arch.Addr
		want string
	}{
		{"\x55", near, "55 e9 fb 0f f0 ff; 0:401000 before, 1:401001"},
		{"\x55", far, "55 ff 25 01 00 00 00 cc 01 10 40 00 00 00 00 00; 0:401000 before, 1:401001"},
		{"\x8b\x05\x10\x00\x00\x00", near, "8b 05 10 10 f0 ff e9 fb 0f f0 ff; 0:401000 before, 6:401006"},
		{"\x8b\x05\x10\x00\x00\x00", far, "unsupported"},
		{"\x74\x10", near, "0f 84 0c 10 f0 ff e9 f7 0f f0 ff; 0:401000 before, 6:401002"},
		{"\x74\x10", far, "74 06 ff 25 08 00 00 00 ff 25 0a 00 00 00 cc cc 02 10 40 00 00 00 00 00 12 10 40 00 00 00 00 00; 0:401000 before, 2:401002, 8:401012"},
		{"\x67\xe3\x10", near, "67 e3 05 e9 fb 0f f0 ff e9 06 10 f0 ff; 0:401000 before, 3:401003, 8:401013"},
		{"\xeb\xfe", near, "e9 fb 0f f0 ff; 0:401000 before"},
		{"\xe8\x00\x01\x00\x00", near, "ff 35 0a 00 00 00 e9 fa 10 f0 ff cc cc cc cc cc 05 10 40 00 00 00 00 00; 0:401000 before, 6:401105"},
		{"\xff\xd0", near, "ff 35 02 00 00 00 ff e0 02 10 40 00 00 00 00 00; 0:401000 before, 6:401000+8 before"},
		{"\xff\x14\x24", near, "ff 35 0a 00 00 00 ff a4 24 08 00 00 00 cc cc cc 03 10 40 00 00 00 00 00; 0:401000 before, 6:401000+8 before"},
		{"\xff\x25\x00\x00\x00\x00", near, "ff 25 00 10 f0 ff; 0:401000 before"},
		{"\xc3", far, "c3; 0:401000 before"},
		{"\x0f\x05", near, "0f 05 48 b9 02 10 40 00 00 00 00 00 e9 f1 0f f0 ff; 0:401000 before, 2:401002, 12:401002"},
		{"\xc7\xf8\x00\x01\x00\x00", near, "c7 f8 00 11 f0 ff e9 fb 0f f0 ff; 0:401000 before, 6:401006"},
		{"\xc7\xf8\x00\x01\x00\x00", far, "c7 f8 06 00 00 00 ff 25 0c 00 00 00 ff 25 0e 00 00 00 cc cc cc cc cc cc 06 10 40"},
		{"\xcc", near, "unsupported"},
	} {
		b := arch.Buffer{Addr: c.at}
		got := "unsupported"
		slot, err := ISA.Relocate(&b, []byte(c.code), 0x401000)
		if err == nil {
			got = fmt.Sprintf("% x; %s", b.Code, fixesText(slot.Fixes))
			checkFixes(t, b.Code, slot)
		} else if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("% x: %v", c.code, err)
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("% x:\n%s\nnot\n%s", c.code, got, c.want)
		}
		if slot.Len != len(b.Code) || slot.Len > 48 {
			t.Errorf("% x: slot of %d bytes, %d written", c.code, slot.Len, len(b.Code))
		}
	}
}

func fixesText(fixes []arch.Fix) string {
	var all []string
	for _, f := range fixes {
		s := fmt.Sprintf("%d:%x", f.Off, uint64(f.PC))
		if f.SP != 0 {
			s += fmt.Sprintf("%+d", f.SP)
		}
		if f.Before {
			s += " before"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}
