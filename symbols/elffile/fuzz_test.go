package elffile

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzNotes looks for a note in anything, and for a build-id in a file that has it.
func FuzzNotes(f *testing.F) {
	f.Add([]byte("\x04\x00\x00\x00\x04\x00\x00\x00\x03\x00\x00\x00GNU\x00\x01\x02\x03\x04"))
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\xff\x04\x00\x00\x00Go\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		desc, ok := findNote(b, "GNU", gnuBuildID)
		if ok && len(desc) > len(b) {
			t.Errorf("%d of %d bytes", len(desc), len(b))
		}
		o := &Object{Reader: bytes.NewReader(b), Size: int64(len(b)), Sections: []Section{{Type: elf.SHT_NOTE, Size: uint64(len(b))}}}
		if id := o.BuildID(); len(id) > 2*maxBuildID || !strings.HasPrefix(hex.EncodeToString(desc), id) {
			t.Errorf("build-id %q of %x", id, desc)
		}
	})
}

// FuzzDebugLink reads a file's name from anything: it is one in a folder.
func FuzzDebugLink(f *testing.F) {
	f.Add([]byte("prog.debug\x00\x00\x01\x02\x03\x04"))
	f.Add([]byte("../x\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := &Object{Reader: bytes.NewReader(b), Size: int64(len(b)), Sections: []Section{{Name: ".gnu_debuglink", Type: elf.SHT_PROGBITS, Size: uint64(len(b))}}}
		name, _ := o.debugLink()
		if name != "" && (filepath.Base(name) != name || name == "." || name == ".." || len(name) > len(b)) {
			t.Errorf("%q", name)
		}
	})
}

// FuzzDebugFile takes the symbols of anything for those of a library.
func FuzzDebugFile(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join("..", "testdata", "*.elf"))
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range seeds {
		f.Add(read(f, path))
	}
	b := read(f, filepath.Join("..", "testdata", "small.elf"))
	main, err := New(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := New(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		main.Budget = new(Budget)
		if s, err := resident(o, main); err == nil {
			_ = s.Each(func(Symbol) {})
			_ = s.Named("work", true, func(s string) bool { return s == "work" }, func(Symbol) {})
			_ = s.Near([]uint64{0, 0x1000}, func(Symbol) {})
			if kept := main.Budget.kept.Load(); kept > 2*uint64(len(b)) {
				t.Errorf("%d bytes are kept of %d", kept, len(b))
			}
		}
	})
}

// FuzzHash looks a name up by tables that are anything.
func FuzzHash(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"), true)
	f.Add([]byte("\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, gnu bool) {
		o := &Object{Reader: bytes.NewReader(b), Size: int64(len(b))}
		h := &hashTable{gnu, Section{Size: uint64(len(b))}}
		find := h.sysv
		if gnu {
			find = h.gnuChain
		}
		if list, err := find(o, "work"); err == nil && len(list) > maxChain {
			t.Errorf("%d candidates", len(list))
		}
	})
}

// read is the content of a file.
func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
