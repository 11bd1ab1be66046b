package dwarf

import (
	"debug/elf"
	"path"
	"reflect"
	"strings"
	"testing"

	sd "debug/dwarf"

	"github.com/ptracer/ptracer/symbols/dwarf/line"
)

// same compares what is read of a program with what debug/dwarf reads: all entries with all
// attributes, and all rows of line tables.
func same(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	std, err := f.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	d := read(t, path)
	units, err := d.Units()
	if err != nil {
		t.Fatal(err)
	}
	r, entries, rows := std.Reader(), 0, 0
	for _, u := range units {
		e, err := u.Root()
		if err != nil {
			t.Fatal(err)
		}
		c, err := u.cursor(e.Offset())
		if err != nil {
			t.Fatal(err)
		}
		for {
			e, ok := c.next()
			if !ok {
				break
			}
			want, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			for want != nil && want.Tag == 0 && e.Tag() != 0 { // padding
				want, _ = r.Next()
			}
			entries++
			sameEntry(t, e, want)
			if t.Failed() {
				return
			}
		}
		if c.Err != nil {
			t.Fatal(c.Err)
		}
		rows += sameLines(t, std, u)
	}
	t.Logf("%s: %d units, %d entries, %d rows", path, len(units), entries, rows)
}

func sameEntry(t *testing.T, e Entry, want *sd.Entry) {
	t.Helper()
	if want == nil || want.Tag != e.Tag() || e.Tag() != 0 && uint64(want.Offset) != e.Offset() {
		t.Fatalf("%#x: %v, not %+v", e.Offset(), e.Tag(), want)
	}
	i := 0
	for attr, v := range e.Attrs {
		if i >= len(want.Field) {
			t.Fatalf("%#x: more than %d attributes", e.Offset(), len(want.Field))
		}
		w := want.Field[i]
		i++
		if w.Attr != attr {
			t.Fatalf("%#x: attribute %v, not %v", e.Offset(), attr, w.Attr)
		}
		var got any
		switch w.Class {
		case sd.ClassAddress:
			a, err := e.u.addr(v)
			if err != nil {
				t.Fatal(err)
			}
			got = a
		case sd.ClassConstant:
			n, _ := v.Int()
			got = n
			if want := w.Val.(int64); n != want && v.Num == uint64(want) {
				got = want // data of fixed size: debug/dwarf takes it for unsigned
			}
		case sd.ClassBlock, sd.ClassExprLoc:
			got, _ = v.Block()
		case sd.ClassFlag:
			n, _ := v.Uint()
			got = n != 0
		case sd.ClassString:
			s, err := e.u.text(v)
			if err != nil {
				t.Fatal(err)
			}
			got = s
		case sd.ClassReference:
			to, err := e.u.ref(v)
			if err != nil {
				t.Fatal(err)
			}
			got = sd.Offset(to.Offset())
		case sd.ClassLinePtr, sd.ClassLocListPtr, sd.ClassMacPtr, sd.ClassRangeListPtr, sd.ClassRngListsPtr, sd.ClassStrOffsetsPtr, sd.ClassAddrPtr, sd.ClassRngList, sd.ClassLocList:
			got = int64(v.Num)
		default:
			continue
		}
		if v := w.Val; w.Class != sd.ClassReference && !reflect.DeepEqual(got, v) {
			if n, ok := v.(uint64); ok && got == int64(n) || w.Class == sd.ClassRngList || w.Class == sd.ClassLocList {
				continue
			}
			t.Fatalf("%#x: %v is %v (%T), not %v (%T), %v", e.Offset(), attr, got, got, v, v, w.Class)
		} else if w.Class == sd.ClassReference && got != v {
			t.Fatalf("%#x: %v is %#x, not %#x", e.Offset(), attr, got, v)
		}
	}
	if i != len(want.Field) {
		t.Fatalf("%#x: %d attributes, not %d", e.Offset(), i, len(want.Field))
	}
}

// sameLines compares the line table of a unit, and returns how many rows it has.
func sameLines(t *testing.T, std *sd.Data, u *Unit) (rows int) {
	t.Helper()
	root, err := u.Root()
	if err != nil {
		t.Fatal(err)
	}
	r := std.Reader()
	r.Seek(sd.Offset(root.Offset()))
	cu, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	lr, err := std.LineReader(cu)
	if err != nil {
		t.Fatal(err)
	}
	l, err := u.Lines()
	if err != nil {
		t.Fatal(err)
	}
	if (l == nil) != (lr == nil) {
		t.Fatalf("unit %#x: a line table: %v, not %v", u.off, l != nil, lr != nil)
	}
	if l == nil {
		return 0
	}
	dir := root.Text(sd.AttrCompDir)
	var want sd.LineEntry
	err = l.Rows(func(row *line.Row) bool {
		if err := lr.Next(&want); err != nil {
			t.Fatalf("unit %#x, row %d: %v", u.off, rows, err)
		}
		rows++
		got := sd.LineEntry{Address: row.Addr, Line: row.Line, Column: row.Column, IsStmt: row.Stmt, PrologueEnd: row.PrologueEnd,
			EpilogueBegin: row.EpilogueBegin, EndSequence: row.End, Discriminator: row.Discriminator, OpIndex: want.OpIndex, BasicBlock: want.BasicBlock, ISA: want.ISA, File: want.File}
		if got != want {
			t.Fatalf("unit %#x, row %d: %+v, not %+v", u.off, rows, got, want)
		}
		if name := l.File(row.File, dir); want.File != nil && name != want.File.Name && name != path.Join(dir, want.File.Name) && !strings.HasSuffix(name, "/"+want.File.Name) && !row.End {
			t.Fatalf("unit %#x, row %d: file %q, not %q", u.off, rows, name, want.File.Name)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
