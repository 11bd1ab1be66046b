package program

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the goldens anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s is not what it was:\n%s", path, text)
	}
}

func object(t testing.TB, name string) ([]*Program, error) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".bpf.o"))
	if err != nil {
		t.Fatal(err)
	}
	return Load(bytes.NewReader(raw))
}

// TestLoad: maps and variables, functions, lines, and where programs belong.
func TestLoad(t *testing.T) {
	for _, name := range []string{"latency", "record", "loop"} {
		programs, err := object(t, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var text strings.Builder
		for _, p := range programs {
			text.WriteString("section " + p.Section + ", license " + p.License + "\n")
			if err := p.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if again, err := FromBytes(p.Name, p.Bytes(), p.Maps); err != nil || len(again.Funcs) != len(p.Funcs) {
				t.Errorf("%s: from bytes: %v", p.Name, err)
			}
			sameAsSpec(t, p)
		}
		golden(t, name+".golden", text.String())
	}
}

// sameAsSpec: to cilium and back gives the same program.
func sameAsSpec(t *testing.T, p *Program) {
	t.Helper()
	spec, err := p.Spec()
	if err != nil {
		t.Errorf("%s: %v", p.Name, err)
		return
	}
	again, err := FromAsm(p.Name, spec.Instructions, p.Maps)
	if err != nil {
		t.Errorf("%s: %v", p.Name, err)
		return
	}
	if string(again.Bytes()) != string(p.Bytes()) || len(again.Funcs) != len(p.Funcs) {
		t.Errorf("%s: to cilium and back is another", p.Name)
	}
	for f := range p.Funcs {
		if again.Funcs[f] != p.Funcs[f] {
			t.Errorf("%s: function %v became %v", p.Name, p.Funcs[f], again.Funcs[f])
		}
	}
}

// TestVariables: what .data and .rodata hold to begin with; .bss is zeros.
func TestVariables(t *testing.T) {
	programs, err := object(t, "record")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Map{
		".rodata": {ValueSize: 8, ReadOnly: true, Contents: []KV{{[]byte{0, 0, 0, 0}, []byte{490 & 255, 490 >> 8, 0, 0, 0, 0, 0, 0}}}},
		".data":   {ValueSize: 8, Contents: []KV{{[]byte{0, 0, 0, 0}, []byte{1000 & 255, 1000 >> 8, 0, 0, 0, 0, 0, 0}}}},
		".bss":    {ValueSize: 16, Contents: []KV{{[]byte{0, 0, 0, 0}, make([]byte, 16)}}},
	}
	for _, m := range programs[0].Maps {
		w, ok := want[m.Name]
		if !ok {
			continue
		}
		delete(want, m.Name)
		if m.Type != Array || m.MaxEntries != 1 || m.ValueSize != w.ValueSize || m.ReadOnly != w.ReadOnly ||
			len(m.Contents) != 1 || !bytes.Equal(m.Contents[0].Key, w.Contents[0].Key) || !bytes.Equal(m.Contents[0].Value, w.Contents[0].Value) {
			t.Errorf("%+v", m)
		}
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}
}

// TestLoadShared: all programs of an object have the same maps.
func TestLoadShared(t *testing.T) {
	programs, err := object(t, "latency")
	if err != nil {
		t.Fatal(err)
	}
	if len(programs) != 2 || len(programs[0].Maps) != 2 || len(programs[1].Maps) != 2 || len(programs[1].Funcs) != 2 {
		t.Fatalf("%d programs", len(programs))
	}
	if at, ok := programs[0].Place(); !ok || at != (Place{Path: "/bin/true", Func: "work", Offset: 4}) {
		t.Errorf("%+v", at)
	}
	if at, ok := programs[1].Place(); !ok || at != (Place{Return: true}) {
		t.Errorf("%+v", at)
	}
}

// TestLoadRefused: features that no executor supports, and the errors for them.
func TestLoadRefused(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.bpf.o")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var text strings.Builder
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".bpf.o")
		_, err := object(t, "bad/"+name)
		if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text.WriteString(name + ": " + err.Error() + "\n")
	}
	golden(t, "bad/errors.golden", text.String())
}

func TestPlace(t *testing.T) {
	for section, want := range map[string]Place{
		"uprobe":                        {},
		"uprobe/":                       {},
		"uprobe//usr/bin/x:main":        {Path: "/usr/bin/x", Func: "main"},
		"uprobe/libc.so.6:malloc+0x10":  {Path: "libc.so.6", Func: "malloc", Offset: 16},
		"uretprobe/x:f":                 {Return: true, Path: "x", Func: "f"},
		"uprobe/a:b:0x1234":             {Path: "a:b", Offset: 0x1234},
		"uprobe.s/x:f":                  {Path: "x", Func: "f"},
		"uprobe.multi/x:f*":             {Many: true, Path: "x", Func: "f*"},
		"uretprobe.multi.s/x:operator+": {Return: true, Many: true, Path: "x", Func: "operator+"},
		"kprobe/do_sys_open":            {Kernel: true, Func: "do_sys_open"},
		"kretprobe/f":                   {Kernel: true, Return: true, Func: "f"},
	} {
		if at, ok := (&Program{Section: section}).Place(); !ok || at != want {
			t.Errorf("%s: %+v, %v", section, at, ok)
		}
	}
	for _, section := range []string{"", "xdp", "uprobe/x:f+z", "uprobed/x:f", "kprobe.s/f"} {
		if at, ok := (&Program{Section: section}).Place(); ok {
			t.Errorf("%s: %+v", section, at)
		}
	}
}

func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.bpf.o")
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		programs, err := Load(bytes.NewReader(raw))
		if err != nil {
			if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, ErrInvalid) {
				t.Errorf("an error of no class: %v", err)
			}
			return
		}
		for _, p := range programs {
			if err := Validate(p); err != nil {
				t.Error(err)
			}
		}
	})
}
