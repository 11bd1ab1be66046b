package bind

import (
	"errors"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/value"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/scope"
)

func TestMain(m *testing.M) { leak.Main(m) }

// scopes are those at the entry and an exit of handle, in a fixture.
func scopes(t *testing.T, name string) (entry, exit *scope.Scope) {
	t.Helper()
	f, err := symbols.Open(fixture.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var isa arch.ISA = amd64.ISA
	if f.Machine().String() == "EM_AARCH64" {
		isa = arm64.ISA
	}
	s, err := scope.Of(f, isa)
	if err != nil {
		t.Fatal(err)
	}
	fn, err := f.Lookup("handle")
	if err != nil || len(fn) != 1 {
		t.Fatalf("%d functions, %v", len(fn), err)
	}
	if entry, err = s.At(fn[0].Addr, scope.AtEntry, arch.C); err != nil {
		t.Fatal(err)
	}
	if exit, err = s.At(fn[0].Addr, scope.AtExit, arch.C); err != nil {
		t.Fatal(err)
	}
	return entry, exit
}

// registers makes texts of both instruction sets alike.
var registers = map[string]string{
	"$rdi": "A0", "$rsi": "A1", "$rdx": "A2", "$rcx": "A3", "$r8": "A4", "$r9": "A5", "$rax": "R0",
	"$x0": "A0", "$x1": "A1", "$x2": "A2", "$x3": "A3", "$x4": "A4", "$x5": "A5", "$x6": "A6", "$w0": "R0",
}

var register = regexp.MustCompile(`\$\w+`)

func alike(text string) string {
	return register.ReplaceAllStringFunc(text, func(r string) string {
		if s := registers[r]; s != "" {
			return s
		}
		return r
	})
}

func TestNumber(t *testing.T) {
	for _, name := range []string{"named", "named-O0"} {
		entry, _ := scopes(t, name)
		for _, c := range []struct{ text, want string }{
			{"n", "int32(A1)"},
			{"c", "uint8(A3)"},
			{"order", "uint64(A0)"},
			{"order == 0", "(uint64(A0) == 0)"},
			{"order->id", "int32(load32(uint64(A0)))"},
			{"order.id", "int32(load32(uint64(A0)))"},
			{"(*order).id", "int32(load32(uint64(A0)))"},
			{"order[0].id", "int32(load32(uint64(A0)))"},
			{"order->total > 1000 && order->customer->name == \"x\"", `((int64(load64((uint64(A0) + 8))) > 1000) && (str(load64((uint64(A0) + 16))) == "x"))`},
			{"order->customer->mail =~ \"a*\"", `(str(load64((load64((uint64(A0) + 16)) + 16))) =~ "a*")`},
			{"order->customer[1].age", "int32(load32((load64((uint64(A0) + 16)) + 56)))"},
			{"order->next->next->id", "int32(load32(load64((load64((uint64(A0) + 48)) + 48))))"},
			{"order->state == RUNNING", "(load32((uint64(A0) + 24)) == 5)"},
			{"order->flags", "((uint64(load8((uint64(A0) + 28))) << 61) >> 61)"},
			{"order->level", "((int64(load8((uint64(A0) + 28))) << 56) >> 59)"},
			{"order->raw[2]", "load8((uint64(A0) + 31))"},
			{"order->list[1]", "int16(load16((uint64(A0) + 58)))"},
			{"order->list[n]", "int16(load16((((uint64(A0) + 56) + (int32(A1) * 2)) * (uint64(int32(A1)) < uint64(3)))))"},
			{"order->whole", "int32(load32((uint64(A0) + 64)))"},
			{"order->bytes[1]", "int8(load8((uint64(A0) + 65)))"},
			{"len(order->list)", "3"},
			{"len(text) == 3", ""},
			{"order + 1", "uint64((uint64(A0) + 72))"},
			{"(order + 1) - order", "(int64((uint64((uint64(A0) + 72)) - uint64(A0))) / 72)"},
			{"&order->total", "uint64((uint64(A0) + 8))"},
			{"*text", "int8(load8(uint64(A2)))"},
			{"text == \"two\"", `(str(uint64(A2)) == "two")`},
			{"str(text) == \"two\"", `(str(uint64(A2)) == "two")`},
			{"text[1:3] == \"wo\"", `(str((uint64(A2) + 1), ((3 - 1) * (uint64(1) <= uint64(3)))) == "wo")`},
			{"comm == \"x\" && pid == 3", `((comm == "x") && (pid == 3))`},
			{"arg1 + n", "(arg1 + int32(A1))"},
			{"(long)n", "int64(int32(A1))"},
			{"(unsigned char)n", "uint8(int32(A1))"},
			{"(struct customer *)order", "uint64(A0)"},
			{"((struct customer *)order)->age", "int32(load32((uint64(A0) + 24)))"},
			{"((struct customer *)arg0)->age", "int32(load32((uint64(arg0) + 24)))"},
			{"-n * ~2", "(-int32(A1) * ~2)"},
			{"sizeof(n)", ""},
			{"p", ""}, {"d", ""}, {"d > 1", ""}, {"order->price > 1", ""}, {"nothing", ""}, {"order->nothing", ""}, {"n->x", ""},
			{"*n", ""}, {"&n", ""}, {"n[0]", ""}, {"order->list[3]", ""}, {"order->list", ""}, {"text + \"x\"", ""}, {"text", "uint64(A2)"},
			{"text == text", "(uint64(A2) == uint64(A2))"}, {"order->state == NOTHING", ""}, {"(struct nothing *)n", ""}, {"mine", ""},
			{"order->customer->name[1:2] == \"n\"", `(str((load64((uint64(A0) + 16)) + 1), (((2 - 1) * (uint64(1) <= uint64(2))) * (uint64(2) <= uint64(16)))) == "n")`},
		} {
			got, err := Number(entry, Options{Text: c.text})
			if c.want == "" {
				if err == nil || !errors.Is(err, expr.ErrSyntax) && !errors.Is(err, scope.ErrUnknown) && !errors.Is(err, ErrNoValue) {
					t.Errorf("%s: %s: %s, %v", name, c.text, got, err)
				}
				continue
			}
			if runtime.GOARCH == "arm64" { // whose char has no sign
				if rest, ok := strings.CutPrefix(c.want, "int8("); ok {
					c.want = strings.TrimSuffix(rest, ")")
				}
			}
			if err != nil || alike(got) != c.want {
				t.Errorf("%s: %s: %s, %v; want %s", name, c.text, alike(got), err, c.want)
				continue
			}
			if _, err := filter.Parse(got, filter.Options{}); err != nil {
				t.Errorf("%s: %s became %s: %v", name, c.text, got, err)
			}
		}
	}
}

// TestWords: words of the language stay what they are beside variables of these names.
func TestWords(t *testing.T) {
	entry, _ := scopes(t, "named")
	for text, want := range map[string]string{"pid": "pid", "args.n": "int32(A1)"} {
		if got, err := Number(entry, Options{Text: text}); err != nil || alike(got) != want {
			t.Errorf("%s: %s, %v; want %s", text, alike(got), err, want)
		}
	}
	got, err := Number(entry, Options{Text: "args.pid"})
	if err != nil || got == "pid" || !strings.HasPrefix(got, "int32(") {
		t.Errorf("args.pid: %s, %v", got, err)
	}
}

func TestValue(t *testing.T) {
	entry, exit := scopes(t, "named-O0")
	for _, c := range []struct {
		at    *scope.Scope
		text  string
		kind  value.Kind
		parts int
	}{
		{entry, "n", value.Int, 1}, {entry, "c", value.UChar, 1}, {entry, "text", value.String, 1}, {entry, "order", value.Pointer, 1},
		{entry, "*order", value.Struct, 1}, {entry, "p", value.Struct, 2}, {entry, "order->state", value.Enum, 1}, {entry, "order->raw", value.Array, 1},
		{entry, "order->customer->name", value.String, 1}, {entry, "order->price", value.Float, 1}, {entry, "order->list", value.Array, 1},
		{exit, "ret", value.Int, 1}, {entry, "text[:2]", value.String, 1},
	} {
		f, err := Value(c.at, Options{Text: c.text})
		if err != nil || f.Type == nil || f.Type.Kind != c.kind || len(f.Parts) != c.parts {
			t.Errorf("%s: %+v, %v", c.text, f, err)
		}
	}
	for _, text := range []string{"n + 1", "arg0", "comm"} {
		if f, err := Value(entry, Options{Text: text}); err != nil || f.Type != nil || len(f.Parts) != 1 {
			t.Errorf("%s: %+v, %v", text, f, err)
		}
	}
	_, err := Value(entry, Options{Text: "d"})
	if f, ok := Missing(err); !ok || f.Type.Kind != value.Missing || !errors.Is(err, ErrNoValue) {
		t.Errorf("a value in a register of floating point: %v", err)
	}
	if _, err := Value(exit, Options{Text: "n"}); !errors.Is(err, ErrNoValue) {
		t.Errorf("an argument at an exit: %v", err)
	}
}

func TestAsks(t *testing.T) {
	for text, want := range map[string]bool{
		"arg0 > 3 && pid == 2": false, "str(arg0) == \"x\"": false, "int(ret) + load8($rsp)": false, "n": true, "arg0 + n": true, "*arg0": true,
		"arg0.x": true, "(int *)arg0": true, "len(arg0)": true, "arg16": true, "str(s)": true,
	} {
		tree, err := expr.Parse(expr.Source{Text: text})
		if err != nil || Asks(tree) != want {
			t.Errorf("%s: %t, %v", text, !want, err)
		}
	}
}

// BenchmarkBind binds a condition at a place of a file whose debug information has been read.
func BenchmarkBind(b *testing.B) {
	f, err := symbols.Open(fixture.Path(b, "named"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var isa arch.ISA = amd64.ISA
	if f.Machine().String() == "EM_AARCH64" {
		isa = arm64.ISA
	}
	s, err := scope.Of(f, isa)
	if err != nil {
		b.Fatal(err)
	}
	fn, err := f.Lookup("handle")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		at, err := s.At(fn[0].Addr, scope.AtEntry, arch.C)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Number(at, Options{Text: `order->total > 1000 && order->customer->name == "x"`}); err != nil {
			b.Fatal(err)
		}
	}
}
