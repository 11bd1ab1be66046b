package raw

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/symbols/elffile"
)

// TestHoles has a section of terabytes, all of them holes: no memory is taken for it.
func TestHoles(t *testing.T) {
	const size = 4 << 40
	f, err := os.Create(filepath.Join(t.TempDir(), "holes"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	s := &Section{Name: ".debug_str", r: f, Size: size}
	if _, err := s.At(0, size); !errors.Is(err, elffile.ErrBudget) {
		t.Errorf("all of it: %v", err)
	}
	if _, err := s.Text(size - 1<<30 - 3*maxText); err != nil {
		t.Errorf("an empty string: %v", err)
	}
	err = s.Growing(0, elffile.MaxPart+1, func([]byte) error { return ErrShort })
	if !errors.Is(err, elffile.ErrBudget) {
		t.Errorf("more and more of it: %v", err)
	}
}

// TestEmpty has sections without bytes: stored, and compressed.
func TestEmpty(t *testing.T) {
	f := file(t, "")
	for name, s := range map[string]*Section{"none": none("x"), "stored": {Name: "x", r: f}, "nowhere": {Name: "x"}} {
		if b, err := s.At(0, 0); err != nil || len(b) != 0 {
			t.Errorf("%s: %v, %v", name, b, err)
		}
		if _, err := s.At(0, 1); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: a byte of it: %v", name, err)
		}
		if _, err := s.Text(0); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: a string of it: %v", name, err)
		}
	}
	for _, text := range []string{"", "a", strings.Repeat("long ", 1<<17)} {
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		if _, err := z.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		in := &Section{Name: "x", r: bytes.NewReader(packed.Bytes()), Size: uint64(packed.Len())}
		s, err := inflate(in, elf.COMPRESS_ZLIB, 0, uint64(len(text)), nil)
		if err != nil || content(t, s) != text {
			t.Errorf("%d bytes inflate to %v, %v", len(text), s, err)
		}
		if f, ok := s.r.(*os.File); ok {
			f.Close()
		}
		if s, err := inflate(in, elf.COMPRESS_ZLIB, 0, uint64(len(text))+1, nil); s != nil || !errors.Is(err, ErrFormat) {
			t.Errorf("%d bytes, and one too many claimed: %v, %v", len(text), s, err)
		}
	}
}

// TestText has strings of all lengths around what is read at once.
func TestText(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 129, 255, 256, 5000} {
		text := strings.Repeat("x", n)
		f := file(t, text+"\x00next\x00")
		for _, s := range []*Section{{Name: "x", r: f, Size: uint64(n) + 6}, {Name: "x", Mem: []byte(text + "\x00next\x00"), Size: uint64(n) + 6}} {
			if got, err := s.Text(0); err != nil || got != text {
				t.Errorf("%d bytes: %d, %v", n, len(got), err)
			}
		}
	}
}
