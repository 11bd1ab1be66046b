package symbols

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/procfs"
)

// small are tiny objects with what the readers look at, kept in testdata.
func small(t testing.TB) (files [][]byte) {
	names, err := filepath.Glob(filepath.Join("testdata", "*.elf"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no seeds: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	return files
}

// poke asks a file everything; it must answer, whatever it is.
func poke(b []byte, name string) {
	f, err := NewFile(bytes.NewReader(b), int64(len(b)), "fuzz")
	if err != nil {
		return
	}
	f.BuildID()
	f.Interp()
	f.IsGo()
	fns, _ := f.Lookup(name)
	all, _ := f.Functions()
	buf := make([]byte, 16)
	for i, fn := range append(fns, all...) {
		if i > 50 {
			break
		}
		f.Text(fn.Addr, buf)
		f.FunctionAt(fn.Addr)
		f.Convention(fn)
		f.Starting(fn.Addr)
		f.ResolverSlots(fn.Addr)
		f.Slots(fn.Names())
		f.Lookup(fn.Name)
		if fn.Size < 1<<16 {
			f.Exits(isaOf(f), fn)
		}
	}
	f.Text(f.Entry(), buf)
	f.Text(^arch.Addr(0)-8, buf)
	for _, text := range []string{name, "*a*", "*0x1000"} {
		if l, err := ParseLocation(text); err == nil {
			if _, err := l.Resolve(f, isaOf(f)); err != nil {
				_ = err.Error()
			}
		}
	}
	f.obj.bias(procfs.Mapping{Start: 0x1000, End: 0x2000, Offset: 0x1000})
	f.obj.extent()
}

func FuzzFile(f *testing.F) {
	debugDirs = nil
	for _, b := range small(f) {
		f.Add(b, "plain")
		f.Add(b, "a::b<c>(d)")
	}
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		if n := allocated(func() { poke(b, name) }); n > 100<<20 {
			t.Errorf("%d MiB of memory for %d bytes", n>>20, len(b))
		}
	})
}

// FuzzNotes looks for a note in anything, and for a build-id in a file that has it.
func FuzzNotes(f *testing.F) {
	f.Add([]byte("\x04\x00\x00\x00\x04\x00\x00\x00\x03\x00\x00\x00GNU\x00\x01\x02\x03\x04"))
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\xff\x04\x00\x00\x00Go\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		desc, ok := findNote(b, "GNU", gnuBuildID)
		if ok && len(desc) > len(b) {
			t.Errorf("%d of %d bytes", len(desc), len(b))
		}
		o := &object{r: bytes.NewReader(b), size: int64(len(b)), sections: []section{{typ: elf.SHT_NOTE, size: uint64(len(b))}}}
		if id := o.buildID(); len(id) > 2*maxBuildID || !strings.HasPrefix(hex.EncodeToString(desc), id) {
			t.Errorf("build-id %q of %x", id, desc)
		}
	})
}

// FuzzDebugLink reads a file's name from anything: it is one in a folder.
func FuzzDebugLink(f *testing.F) {
	f.Add([]byte("prog.debug\x00\x00\x01\x02\x03\x04"))
	f.Add([]byte("../x\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := &object{r: bytes.NewReader(b), size: int64(len(b)), sections: []section{{name: ".gnu_debuglink", typ: elf.SHT_PROGBITS, size: uint64(len(b))}}}
		name, _ := o.debugLink()
		if name != "" && (filepath.Base(name) != name || name == "." || name == ".." || len(name) > len(b)) {
			t.Errorf("%q", name)
		}
	})
}

// FuzzDebugFile takes the symbols of anything for those of a library.
func FuzzDebugFile(f *testing.F) {
	for _, b := range small(f) {
		f.Add(b)
	}
	main, err := Open(filepath.Join("testdata", "small.elf"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { main.Close() })
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := newObject(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		main.obj.budget = new(budget)
		if s, err := resident(o, main.obj); err == nil {
			_ = s.each(func(symbol) {})
			_ = s.named("work", true, func(s string) bool { return s == "work" }, func(symbol) {})
			_ = s.near([]uint64{0, 0x1000}, func(symbol) {})
			if kept := main.obj.budget.kept.Load(); kept > 2*uint64(len(b)) {
				t.Errorf("%d bytes are kept of %d", kept, len(b))
			}
		}
	})
}

// FuzzUnwind works out rows by rules that are anything.
func FuzzUnwind(f *testing.F) {
	cie := []byte{0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, encPCRel | encSdata4, 0x0c, 7, 8}
	f.Add(cie, []byte{0x41, 0x0e, 0x10, 0x0a, 0x42, 0x0b}, false)
	f.Add(cie, []byte{0x41, negateRA, 0x16, 6, 2, 0x70, 8}, true)
	f.Fuzz(func(t *testing.T, cie, rules []byte, arm bool) {
		if len(cie) > maxFDE || len(rules) > maxFDE {
			return
		}
		b := frameOf(cie, rules)
		file := &File{obj: &object{r: bytes.NewReader(b), size: int64(len(b)), budget: new(budget), machine: elf.EM_X86_64,
			sections: []section{{name: ".eh_frame", typ: elf.SHT_PROGBITS, addr: frameAddr, size: uint64(len(b))}},
			segments: []segment{{typ: elf.PT_LOAD, flags: elf.PF_R, vaddr: frameAddr, filesz: uint64(len(b)), mem: uint64(len(b))}}}}
		if arm {
			file.obj.machine = elf.EM_AARCH64
		}
		file.frames = func() *frames { return &frames{o: file.obj} }
		file.Unwind(forgedText + 1)
	})
}

// FuzzGoTable takes anything for Go's table of functions.
func FuzzGoTable(f *testing.F) {
	for _, magic := range []uint32{magicGo12, magicGo116, magicGo118, magicGo120} {
		f.Add(goTableOf(magic, forgedText))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o := &object{r: bytes.NewReader(b), size: int64(len(b)), budget: new(budget), machine: elf.EM_X86_64,
			segments: []segment{{typ: elf.PT_LOAD, flags: elf.PF_X, vaddr: forgedText, filesz: 4096, mem: 4096}, {typ: elf.PT_LOAD, vaddr: 0x8000, filesz: uint64(len(b)), mem: uint64(len(b))}}}
		o.index()
		if g, ok := newGoTable(o); ok {
			n := uint64(0)
			_ = g.each(func(symbol) { n++ })
			if n > g.n || g.n > uint64(len(b)) {
				t.Errorf("%d of %d functions, in %d bytes", n, g.n, len(b))
			}
			readGoCalls(o)
		}
	})
}

// FuzzHash looks a name up by tables that are anything.
func FuzzHash(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"), true)
	f.Add([]byte("\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, gnu bool) {
		o := &object{r: bytes.NewReader(b), size: int64(len(b))}
		h := &hashTable{gnu, section{size: uint64(len(b))}}
		find := h.sysv
		if gnu {
			find = h.gnuChain
		}
		if list, err := find(o, "work"); err == nil && len(list) > maxChain {
			t.Errorf("%d candidates", len(list))
		}
	})
}

// TestDamaged cuts real objects and overwrites each byte of the small ones.
func TestDamaged(t *testing.T) {
	old := debugDirs
	debugDirs = nil
	defer func() { debugDirs = old }()
	step := 11
	if runtime.GOARCH == "arm64" {
		step = 307 // an emulated CPU, as in the arm64 lane; the code is the same
	}
	for _, b := range small(t) {
		for n := 0; n < len(b); n += 9 * step {
			poke(b[:n], "plain")
		}
		for i := 0; i < len(b); i += step {
			for _, v := range []byte{0, 0x7f, 0xff} {
				c := bytes.Clone(b)
				c[i] = v
				poke(c, "main")
			}
		}
	}
}

// TestSeeds: what the seeds are there for is seen.
func TestSeeds(t *testing.T) {
	for name, want := range map[string]string{"small.elf": "inner", "mini.elf": "inner", "go.elf": "main.inner"} {
		f := open(t, filepath.Join("testdata", name))
		fns, err := f.Lookup(want)
		if err != nil || len(fns) != 1 || fns[0].Size == 0 {
			t.Errorf("%s in %s: %+v, %v", want, name, fns, err)
		}
	}
}
