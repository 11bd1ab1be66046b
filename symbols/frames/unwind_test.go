package frames

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// TestUnwind holds each row of real programs' call frame information against
// what readelf says of it.
func TestUnwind(t *testing.T) {
	tool, err := exec.LookPath("readelf")
	if err != nil {
		skip.Missing(t, "readelf")
	}
	for _, path := range []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2", "/bin/bash", "/usr/bin/python3", "/usr/bin/gdb",
		"/usr/aarch64-linux-gnu/lib/libc.so.6"} {
		t.Run(path, func(t *testing.T) {
			if _, err := os.Stat(path); err != nil {
				skip.Missing(t, path)
			}
			o, f := open(t, path)
			cmd := exec.Command(tool, "--debug-dump=frames-interp", "--wide", path)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			rows, unknown := compareRows(t, o, f, bufio.NewScanner(out))
			_ = cmd.Wait() // it may miss debug files
			t.Logf("%d rows, %d of them of no kind that is known", rows, unknown)
			if rows < 300 || unknown > rows/50 {
				t.Errorf("%d rows, %d unknown", rows, unknown)
			}
		})
	}
}

// TestUnwindSigned has rows of an arm64 program whose return addresses are signed: each
// instruction of main, behind paciasp, too, has the row that it has without.
func TestUnwindSigned(t *testing.T) {
	build := func(name string) string {
		i := slices.IndexFunc(fixture.Table, func(f fixture.Fixture) bool { return f.Name == name })
		root, err := fixture.Root()
		if err != nil {
			t.Fatal(err)
		}
		path, err := fixture.Table[i].Build(root, "arm64")
		if errors.Is(err, fixture.ErrMissing) {
			skip.Missing(t, err.Error())
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := build("loop-cf")
	o, f := open(t, path)
	main := symbolOf(t, path, "main")
	saved, signs := 0, false
	for at := main.Value; at < main.Value+main.Size; at += 4 {
		var code [4]byte
		if !o.Load(at, code[:], elf.PF_X) {
			t.Fatalf("no code at %#x", at)
		}
		signs = signs || code == [4]byte{0x3f, 0x23, 0x03, 0xd5} // paciasp
		row, ok := f.Unwind(arch.Addr(at))
		if !ok || row.Reg != 31 {
			t.Fatalf("%#x: %+v, %v", at, row, ok)
		}
		if row.Return.Where == AtCFA && row.FP.Where == AtCFA {
			saved++
		}
	}
	if n := int(main.Size / 4); !signs || saved < n/2 {
		t.Errorf("signs %v; of %d instructions %d have the return address in the frame", signs, n, saved)
	}
}

func compareRows(t *testing.T, o *elffile.Object, f *Table, lines *bufio.Scanner) (rows, unknown int) {
	var columns []string
	next := 0
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 2 && fields[0] == "LOC" {
			columns = fields
			continue
		}
		if len(fields) != len(columns) || len(fields) < 2 {
			columns = nil
			continue
		}
		at, err := strconv.ParseUint(fields[0], 16, 64)
		if err != nil {
			continue
		}
		if next++; next%3 != 0 { // there are 100,000 in some programs
			continue
		}
		if !o.Executable(at) { // of a CIE
			continue
		}
		rows++
		row, ok := f.Unwind(arch.Addr(at))
		if !ok {
			unknown++
			continue
		}
		for i, c := range columns[1:] {
			got, want := shownAs(&row, c), fields[i+1]
			if want == "s" { // it is said that it is the same
				want = "u"
			}
			if got != "" && got != want && want != "exp" {
				t.Errorf("%#x: %s is %s, not %s: %+v", at, c, got, want, row)
			}
		}
		if t.Failed() && rows > 100 {
			break
		}
	}
	for lines.Scan() { // to its end
	}
	return rows, unknown
}

// shownAs writes a column of a row as readelf does, "" what it has no place for.
func shownAs(r *Row, column string) string {
	switch column {
	case "CFA":
		name := map[uint8]string{6: "rbp", 7: "rsp", 29: "x29", 31: "sp"}[r.Reg]
		if r.Deref || r.PLT || name == "" {
			return ""
		}
		return fmt.Sprintf("%s%+d", name, r.Off)
	case "ra":
		return r.Return.shown("u")
	case "rbp", "x29":
		return r.FP.shown("u")
	}
	return ""
}

func (p Place) shown(unchanged string) string {
	switch p.Where {
	case AtCFA:
		return fmt.Sprintf("c%+d", p.Off)
	case Same:
		return unchanged
	case Unknown:
		return "u"
	}
	return ""
}

// TestUnwindDamaged asks for rows of files with wrong bytes in their tables:
// any answer will do.
func TestUnwindDamaged(t *testing.T) {
	const path = "/bin/bash"
	whole, err := os.ReadFile(path)
	if err != nil {
		skip.Missing(t, path)
	}
	s, text := sectionOf(t, path, ".eh_frame"), sectionOf(t, path, ".text")
	if s == nil || text == nil {
		skip.Missing(t, "sections in "+path)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		b := append([]byte(nil), whole...)
		for range 2000 {
			b[s.Offset+rnd.Uint64N(s.Size)] = byte(rnd.Uint32())
		}
		o, err := elffile.New(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			continue
		}
		f := Read(o)
		for range 300 {
			f.Unwind(arch.Addr(text.Addr + rnd.Uint64N(text.Size)))
		}
	}
}

func TestMain(m *testing.M) { leak.Main(m) }

// open is the object at path, and its frames.
func open(t testing.TB, path string) (*elffile.Object, *Table) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	o, err := elffile.New(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	return o, Read(o)
}

// symbolOf is the symbol of a name in the file at path.
func symbolOf(t *testing.T, path, name string) elf.Symbol {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s elf.Symbol) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no %s in %s", name, path)
	}
	return all[i]
}

// sectionOf finds a section of the file at path, nil if there is none.
func sectionOf(t testing.TB, path, name string) *elf.Section {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return f.Section(name)
}

func BenchmarkUnwind(b *testing.B) {
	if _, err := os.Stat("/bin/bash"); err != nil {
		skip.Missing(b, "/bin/bash")
	}
	_, f := open(b, "/bin/bash")
	text := sectionOf(b, "/bin/bash", ".text")
	if text == nil {
		skip.Missing(b, "sections in /bin/bash")
	}
	b.Run("cold", func(b *testing.B) {
		for i := range b.N {
			f.Unwind(arch.Addr(text.Addr + uint64(i)%text.Size))
		}
	})
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			f.Unwind(arch.Addr(text.Addr + 100))
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
		forged := forge.File{Mapped: 1, Sections: []forge.Section{{Name: ".text"}}}
		if arm {
			forged.Machine = elf.EM_AARCH64
		}
		b := forged.With(".eh_frame", elf.SHT_PROGBITS, elf.Section64{Addr: forge.FrameAddr}, forge.Frames(cie, rules)).Bytes()
		o, err := elffile.New(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		Read(o).Unwind(forge.Text + 1)
	})
}
