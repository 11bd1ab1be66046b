package types

import (
	"debug/elf"
	"os"
	"path/filepath"
	"testing"

	sd "debug/dwarf"

	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/elffile"
)

func TestMain(m *testing.M) { leak.Main(m) }

// open opens the debug information of a program.
func open(t testing.TB, path string) *dwarf.Data {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	st, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	o, err := elffile.New(r, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	d, err := dwarf.New(o, dwarf.Where{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// programs are those whose types are read.
var programs = []struct {
	name     string
	compiler string
	args     []string
}{
	{"gcc-5", "g++", []string{"shapes.cc", "-gdwarf-5", "-O2"}},
	{"gcc-2", "g++", []string{"shapes.cc", "-gdwarf-2", "-gstrict-dwarf", "-O2"}},
	{"gcc-4-types", "g++", []string{"shapes.cc", "-gdwarf-4", "-fdebug-types-section", "-O2"}},
	{"clang-5", "clang++", []string{"shapes.cc", "-gdwarf-5", "-O0"}},
	{"rust", "rustc", []string{"shapes.rs", "-g"}},
	{"kinds", "g++", []string{"kinds.cc", "-g", "-O0"}},
	{"kinds-clang", "clang++", []string{"kinds.cc", "-g", "-O0"}},
	{"kinds-2", "g++", []string{"kinds.cc", "-gdwarf-2", "-gstrict-dwarf", "-O0"}},
}

// build makes a program, of a file in one of the two folders.
func build(t *testing.T, compiler string, args []string) string {
	t.Helper()
	dir := "testdata"
	if _, err := os.Stat(filepath.Join(dir, args[0])); err != nil {
		dir = filepath.Join("..", "testdata")
	}
	return forge.Compile(t, dir, compiler, append([]string{}, args...)...)
}

// TestTruth compares all types of programs with what debug/dwarf reads, where it reads them.
func TestTruth(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) { compare(t, build(t, p.compiler, p.args)) })
	}
	t.Run("go", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "prog")
		forge.Run(t, "go", "build", "-o", out, "../testdata/goshapes")
		compare(t, out)
	})
}

func compare(t *testing.T, path string) {
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
	units, err := open(t, path).Units()
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader()
	n, more := 0, 0
	for _, u := range units {
		err := u.Entries(func(e dwarf.Entry) bool {
			if _, ok := tags[e.Tag()]; !ok && e.Tag() != sd.TagBaseType || e.Tag() == sd.TagSubprogram || e.Tag() == sd.TagSubrangeType {
				return true
			}
			got, err := r.Type(e)
			if err != nil {
				t.Fatal(err)
			}
			touch(t, got)
			want, err := std.Type(sd.Offset(e.Offset()))
			if err != nil {
				more++
				return true
			}
			n++
			same(t, got, want)
			return !t.Failed()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 20 {
		t.Errorf("%d types", n)
	}
	t.Logf("%d types, and %d that debug/dwarf can't read", n, more)
}

// touch asks for all that a type has.
func touch(t *testing.T, of *Type) {
	t.Helper()
	if _, err := of.Elem(); err != nil {
		t.Fatalf("%#x: %v", of.entry.Offset(), err)
	}
	if _, err := of.Strip(); err != nil {
		t.Fatalf("%#x: %v", of.entry.Offset(), err)
	}
	var err error
	switch of.Kind {
	case Struct, Union:
		var list []Member
		if list, err = of.Members(); err == nil {
			_, err = of.Variants()
		}
		for i := range list {
			if _, err := list[i].Type(); err != nil {
				t.Fatalf("%#x, %s: %v", of.entry.Offset(), list[i].Name, err)
			}
		}
	case Enum:
		_, err = of.Enumerators()
	case Function:
		_, _, err = of.Params()
	case MemberPointer:
		_, err = of.Container()
	case Unknown:
		t.Errorf("%#x: %v is of no kind that is known", of.entry.Offset(), of.entry.Tag())
	}
	if err != nil {
		t.Fatalf("%#x: %v", of.entry.Offset(), err)
	}
}

// same compares a type with that of debug/dwarf.
func same(t *testing.T, got *Type, want sd.Type) {
	t.Helper()
	kind, size := got.Kind, want.Size()
	ok := false
	switch w := want.(type) {
	case *sd.BoolType:
		ok = kind == Bool
	case *sd.IntType:
		ok = kind == Int
	case *sd.UintType:
		ok = kind == Uint
	case *sd.CharType:
		ok = kind == Char
	case *sd.UcharType:
		ok = kind == UChar
	case *sd.FloatType:
		ok = kind == Float
	case *sd.ComplexType:
		ok = kind == Complex
	case *sd.AddrType:
		ok = kind == Address
	case *sd.PtrType:
		ok = kind == Pointer
	case *sd.ArrayType:
		ok = kind == Array
		if w.Count < 0 || size < 0 || got.Count < 0 {
			size = got.Size
		}
	case *sd.StructType:
		ok = kind == Struct || kind == Union && w.Kind == "union"
		sameMembers(t, got, w)
		if w.Incomplete {
			size = got.Size
		}
	case *sd.EnumType:
		ok = kind == Enum
		list, err := got.Enumerators()
		if err != nil || len(list) != len(w.Val) {
			t.Errorf("%#x: %d enumerators, not %d, %v", got.entry.Offset(), len(list), len(w.Val), err)
			return
		}
		for i, v := range w.Val {
			if list[i].Name != v.Name || list[i].Value != v.Val && got.Size > 0 && uint64(list[i].Value)<<(64-8*got.Size) != uint64(v.Val)<<(64-8*got.Size) {
				t.Errorf("%#x: enumerator %+v, not %+v", got.entry.Offset(), list[i], *v)
			}
		}
	case *sd.FuncType:
		ok = kind == Function
		list, _, err := got.Params()
		dots := 0
		for _, p := range w.ParamType {
			if _, ok := p.(*sd.DotDotDotType); ok {
				dots++
			}
		}
		if err != nil || len(list) != len(w.ParamType)-dots {
			t.Errorf("%#x: %d arguments, not %d, %v", got.entry.Offset(), len(list), len(w.ParamType), err)
		}
		size = got.Size
	case *sd.TypedefType:
		ok = kind == Alias
		size = got.Size
	case *sd.QualType:
		ok = kind == Const || kind == Volatile || kind == Restrict || kind == Atomic
		size = got.Size
	case *sd.UnspecifiedType:
		ok = kind == Null
		size = got.Size
	default:
		return
	}
	if size < 0 { // it does not look for the size in another type
		size = got.Size
	}
	if !ok || got.Size != size {
		t.Errorf("%#x: %s is of kind %d and %d bytes; debug/dwarf has %T, %v, %d bytes", got.entry.Offset(), got.Name, kind, got.Size, want, want, size)
	}
}

func sameMembers(t *testing.T, got *Type, want *sd.StructType) {
	t.Helper()
	list, err := got.Members()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Member{}
	for _, m := range list {
		if !m.Base {
			byName[m.Name] = m
		}
	}
	for _, f := range want.Field {
		m, ok := byName[f.Name]
		if !ok || f.Name == "" || f.Name == "_" {
			continue // a static one, which debug/dwarf has among them, or without a name of its own
		}
		at := m.Offset
		if m.BitSize > 0 { // debug/dwarf has the offset of the storage unit
			at = f.ByteOffset
			if want := f.DataBitOffset; want != 0 && want != m.BitOffset {
				t.Errorf("%#x: %s begins at bit %d, not %d", got.entry.Offset(), f.Name, m.BitOffset, want)
			}
		}
		if at != f.ByteOffset || m.BitSize != f.BitSize {
			t.Errorf("%#x: %s is at %d, %d bits; not at %d, %d bits", got.entry.Offset(), f.Name, m.Offset, m.BitSize, f.ByteOffset, f.BitSize)
		}
	}
}

// TestKinds has types that debug/dwarf can't read, or reads otherwise.
func TestKinds(t *testing.T) {
	for _, p := range programs {
		if p.args[0] != "kinds.cc" {
			continue
		}
		t.Run(p.name, func(t *testing.T) { kinds(t, open(t, build(t, p.compiler, p.args)), p.name == "kinds-2") })
	}
}

func kinds(t *testing.T, d *dwarf.Data, old bool) {
	t.Helper()
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader()
	of := func(name string) *Type {
		t.Helper()
		var found *Type
		err := names.Lookup(name, func(e dwarf.Entry) bool {
			if e.Tag() == sd.TagVariable {
				if found, err = r.Of(e); err != nil {
					t.Fatal(err)
				}
			}
			return found == nil
		})
		if err != nil || found == nil {
			t.Fatalf("no variable %s: %v", name, err)
		}
		return found
	}
	for _, c := range []struct {
		name string
		kind Kind
		size int64
	}{
		{"a_bool", Bool, 1}, {"a_char", Char, 1}, {"a_uchar", UChar, 1}, {"a_int", Int, 4}, {"a_ulong", Uint, 8}, {"a_double", Float, 8}, {"a_long_double", Float, 16},
		{"a_complex", Complex, 16}, {"a_pointer", Pointer, 8}, {"a_reference", Reference, 8}, {"a_rvalue", RValue, 8}, {"a_const", Const, 4},
		{"a_volatile", Volatile, 4}, {"an_array", Array, 24}, {"a_matrix", Array, 24}, {"a_struct", Struct, 16}, {"a_union", Union, 8}, {"an_enum", Enum, 4}, {"a_wide_enum", Enum, 8},
		{"a_function", Pointer, 8}, {"an_alias", Alias, 4}, {"a_derived", Struct, 32},
	} {
		if old && c.kind == RValue { // DWARF 2 has no rvalue references
			c.kind = Reference
		}
		if got := of(c.name); got.Kind != c.kind || got.Size != c.size {
			t.Errorf("%s is of kind %d and %d bytes, not %d and %d", c.name, got.Kind, got.Size, c.kind, c.size)
		}
	}
	if old { // DWARF 2 has no words for the others
		return
	}
	for name, size := range map[string]int64{"a_char16": 2, "a_char32": 4} {
		if got := of(name); got.Kind != Char || !got.Unicode || got.Size != size {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, name := range []string{"a_member", "a_method"} {
		got := of(name)
		if got, err := got.Container(); err != nil || got.Name != "parts" {
			t.Errorf("%s is of %+v, %v", name, got, err)
		}
		if got.Kind != MemberPointer {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got, err := of("a_null").Strip(); err != nil || got.Kind != Null {
		t.Errorf("a_null: %+v, %v", got, err)
	}
	if dims, err := of("a_matrix").Dimensions(); err != nil || len(dims) != 2 || dims[0] != 2 || dims[1] != 3 {
		t.Errorf("a_matrix: %v, %v", dims, err)
	}
	list, err := of("a_struct").Members()
	if err != nil || len(list) != 5 || list[1].BitSize != 3 || list[1].BitOffset != 32 || list[2].BitSize != 5 || list[2].BitOffset != 35 || list[4].Offset != 8 {
		t.Errorf("a_struct: %+v, %v", list, err)
	}
	if list, err = of("a_derived").Members(); err != nil || len(list) < 2 || !list[0].Base {
		t.Errorf("a_derived: %+v, %v", list, err)
	}
	values, err := of("a_wide_enum").Enumerators()
	if err != nil || len(values) != 2 || values[0].Value != -1 || values[1].Value != 1<<40 {
		t.Errorf("a_wide_enum: %+v, %v", values, err)
	}
	fn, err := of("a_function").Elem()
	if err != nil {
		t.Fatal(err)
	}
	if params, more, err := fn.Params(); err != nil || len(params) != 2 || !more || params[1].Kind != Pointer {
		t.Errorf("a_function: %+v, %v, %v", params, more, err)
	}
}

// TestVariants has enums of Rust.
func TestVariants(t *testing.T) {
	d := open(t, build(t, "rustc", []string{"shapes.rs", "-g"}))
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	r, found := NewReader(), 0
	err = names.Lookup("Shape", func(e dwarf.Entry) bool {
		of, err := r.Type(e)
		if err != nil {
			t.Fatal(err)
		}
		v, err := of.Variants()
		if err != nil || v == nil || v.Tag == nil || len(v.Variants) != 3 {
			t.Errorf("%+v, %v", v, err)
			return true
		}
		for i, name := range []string{"Circle", "Rect", "Empty"} {
			if one := v.Variants[i]; one.Member.Name != name || len(one.Values) != 1 && !one.Default {
				t.Errorf("variant %d: %+v", i, one)
			}
		}
		found++
		return true
	})
	if err != nil || found == 0 {
		t.Errorf("found %d, %v", found, err)
	}
}
