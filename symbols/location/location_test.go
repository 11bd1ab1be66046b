package location

import (
	"errors"
	"testing"

	"github.com/ptracer/ptracer/symbols"
)

var locations = []struct {
	text string
	want Location
}{
	{"malloc", Location{Function: "malloc"}},
	{"libc:malloc", Location{Binary: "libc", Function: "malloc"}},
	{"libc:malloc+4", Location{Binary: "libc", Function: "malloc", Offset: 4}},
	{"malloc+0x10", Location{Function: "malloc", Offset: 16}},
	{"malloc+0", Location{Function: "malloc", First: true}},
	{"malloc+*", Location{Function: "malloc", Every: true}},
	{"malloc%return", Location{Function: "malloc", Return: true}},
	{"libc:mem*", Location{Binary: "libc", Function: "mem*"}},
	{"*:*alloc*", Location{Binary: "*", Function: "*alloc*"}},
	{"*", Location{Function: "*"}},
	{"*x", Location{Function: "*x"}},
	{"*0x401000", Location{Address: 0x401000, HasAddress: true}},
	{"*4096", Location{Address: 4096, HasAddress: true}},
	{"libc:*0x10", Location{Binary: "libc", Address: 16, HasAddress: true}},
	{"/usr/bin/ls:main", Location{Binary: "/usr/bin/ls", Function: "main"}},
	{`/tmp/a\:b:main`, Location{Binary: "/tmp/a:b", Function: "main"}},
	{"std::sort", Location{Function: "std::sort"}},
	{"libstdc++:std::sort", Location{Binary: "libstdc++", Function: "std::sort"}},
	{"::f", Location{Function: "::f"}},
	{"a.out:::f", Location{Binary: "a.out", Function: "::f"}},
	{"std::vector<int, std::allocator<int> >::push_back", Location{Function: "std::vector<int, std::allocator<int> >::push_back"}},
	{"x:f(std::string const&)", Location{Binary: "x", Function: "f(std::string const&)"}},
	{"A::operator+", Location{Function: "A::operator+"}},
	{"A::operator++", Location{Function: "A::operator++"}},
	{"A::operator++4", Location{Function: "A::operator+", Offset: 4}},
	{"A::operator+(int)", Location{Function: "A::operator+(int)"}},
	{"A::operator%", Location{Function: "A::operator%"}},
	{"A::operator%%return", Location{Function: "A::operator%", Return: true}},
	{"operator+%return", Location{Function: "operator+", Return: true}},
	{`operator\+*`, Location{Function: "operator+*"}},
	{"f<(A)+1>", Location{Function: "f<(A)+1>"}},
	{"main.F[...]", Location{Function: "main.F[...]"}},
	{"main.(*T).Get", Location{Function: "main.(*T).Get"}},
	{`type\:.eq.main.T`, Location{Function: "type:.eq.main.T"}},
	{`go:type\:.eq.main.T`, Location{Binary: "go", Function: "type:.eq.main.T"}},
	{"go:type:.eq.main.T", Location{Binary: "go", Function: "type:.eq.main.T"}},
	{`main.F[struct { X int "a:b" }]`, Location{Function: `main.F[struct { X int "a:b" }]`}},
	{"gopkg.in/yaml%2ev3.Unmarshal", Location{Function: "gopkg.in/yaml%2ev3.Unmarshal"}},
	{"gopkg.in/yaml%2ev3.Unmarshal%return", Location{Function: "gopkg.in/yaml%2ev3.Unmarshal", Return: true}},
	{`a\*b\?\\c\d`, Location{Function: `a\*b\?\\cd`}},
	{`a\`, Location{Function: `a\`}},
	{"helper@0x1149", Location{Function: "helper@0x1149"}},
	{"main.c:42", Location{File: "main.c", Line: 42}},
	{"src/a b.c:42", Location{File: "src/a b.c", Line: 42}},
	{"main.c:42:7", Location{File: "main.c", Line: 42, Column: 7}},
	{"a.out:main.c:42", Location{Binary: "a.out", File: "main.c", Line: 42}},
	{"lib*:src/*.c:42:7", Location{Binary: "lib*", File: "src/*.c", Line: 42, Column: 7}},
	{`a\:b.c:42`, Location{File: "a:b.c", Line: 42}},
	{"std::vector<int>::push_back:42", Location{File: "std::vector<int>::push_back", Line: 42}},
	{"main.(*T).Get:42", Location{File: "main.(*T).Get", Line: 42}},
	{"f:0", Location{Binary: "f", Function: "0"}},
	{`x:\42`, Location{Binary: "x", Function: "42"}},
}

func TestParse(t *testing.T) {
	for _, c := range locations {
		got, err := Parse(c.text)
		if err != nil || got != c.want {
			t.Errorf("%q: got %+v, %v; want %+v", c.text, got, err, c.want)
			continue
		}
		again, err := Parse(got.String())
		if err != nil || again != got {
			t.Errorf("%q: spelled %q, read as %+v, %v", c.text, got.String(), again, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		text   string
		column int
	}{
		{"", 1},
		{":f", 1},
		{"libc:", 6},
		{"malloc%retrun", 7},
		{"libc:malloc%x", 12},
		{"malloc+12q", 8},
		{"malloc+99999999999999999999999", 8},
		{"malloc+4%return", 9},
		{"+4", 1},
		{"%return", 1},
		{"x:%return", 3},
		{"*99999999999999999999999", 2},
		{"a\x00b", 2},
		{"a\nb", 2},
	} {
		l, err := Parse(c.text)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Column != c.column {
			t.Errorf("%q: got %+v, %v; want an error at column %d", c.text, l, err, c.column)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range locations {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(l.String())
		if err != nil || again != l {
			t.Errorf("%q: %+v is spelled %q, read as %+v, %v", text, l, l.String(), again, err)
		}
	})
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"a*", "abc", true}, {"*c", "abc", true}, {"a*c", "ab", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"*a*b*", "xxaxxbxx", true}, {"*a*b", "ab b", true}, {"*ab*abc", "ababdabc", true},
		{`\*`, "*", true}, {`\*`, "x", false}, {`a\?`, "a?", true}, {`\`, `\`, true}, {"[ab]", "a", false}, {"F[...]", "F[...]", true},
		{"*x", "y", false}, {"?", "", false}, {"a**b", "ab", true},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

func TestMatchesBinary(t *testing.T) {
	for _, c := range []struct {
		binary, path string
		want         bool
	}{
		{"", "/bin/x", true},
		{"libc", "/usr/lib/x86_64-linux-gnu/libc.so.6", true},
		{"libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6", true},
		{"libc.so", "/usr/lib/libc.so.6", false},
		{"libc", "/lib/libc-2.31.so", true},
		{"libc", "/lib/libc.musl-x86_64.so.1", true},
		{"libc", "/lib/ld-musl-x86_64.so.1", true},
		{"ld-musl", "/lib/ld-musl-aarch64.so.1", true},
		{"libc", "/lib/libcrypt.so.1", false},
		{"libc", "/lib/ld-linux-x86-64.so.2", false},
		{"ld-linux", "/lib/ld-linux-x86-64.so.2", true},
		{"libstdc++", "/lib/libstdc++.so.6.0.30", true},
		{"libpython3", "/lib/libpython3.11.so.1.0", true},
		{"python3", "/usr/bin/python3.11", true},
		{"python", "/usr/bin/python3.11", false},
		{"ls", "/bin/ls", true},
		{"ls", "/bin/tls", false},
		{"l*", "/bin/ls", true},
		{"*", "[vdso]", true},
		{"vdso", "[vdso]", true},
		{"[vdso]", "[vdso]", true},
		{"/bin/*", "/bin/ls", true},
		{"/bin/ls", "/bin/ls", true},
		{"/bin/ls", "/usr/local/bin/ls", false},
		{"bin/ls", "/usr/bin/ls", false},
		{`a\*`, "/bin/a*", true},
		{`a\*`, "/bin/ab", false},
	} {
		if got := (Location{Binary: c.binary}).MatchesBinary(symbols.Module{Path: c.path}); got != c.want {
			t.Errorf("%q matches %q: %v", c.binary, c.path, got)
		}
	}
}

func TestIsGlob(t *testing.T) {
	for text, want := range map[string]bool{
		"malloc": false, "libc:mem*": true, "lib*:malloc": true, "f?": true,
		"main.(*T).Get": false, "main.(*T).*": true, `libstdc++:std::operator\*`: false,
		"slices.Sort[go.shape.int]": false,
	} {
		if l, err := Parse(text); err != nil || l.IsGlob() != want {
			t.Errorf("%s: %v, %v", text, l.IsGlob(), err)
		}
	}
}
