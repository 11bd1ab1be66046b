package printable

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextAndName(t *testing.T) {
	for _, c := range []struct{ in, text, name string }{
		{"", "", ""},
		{"libc.so.6:malloc", "libc.so.6:malloc", "libc.so.6:malloc"},
		{"naïve 日本 👍 e\u0301", "naïve 日本 👍 e\u0301", "naïve 日本 👍 e\u0301"},
		{"\x1b[2J", `\x1b[2J`, `\x1b[2J`},
		{"a\nb\r\t\a\x00\x7f", `a\nb\r\t\a\x00\x7f`, `a\nb\r\t\a\x00\x7f`},
		{"\u009b31m\u0085", `\u009b31m\u0085`, `\u009b31m\u0085`},
		{"\x9b\xff", `\x9b\xff`, `\x9b\xff`},
		{"\xed\xa0\x80", `\xed\xa0\x80`, `\xed\xa0\x80`}, // half of a surrogate pair
		{"a\ufffdb", "a\ufffdb", "a\ufffdb"},             // the replacement character itself
		{"\u202eexe\u202c", `\u202eexe\u202c`, `\u202eexe\u202c`},
		{"\u2066\u2069\u200e\u200f\u061c", `\u2066\u2069\u200e\u200f\u061c`, `\u2066\u2069\u200e\u200f\u061c`},
		{"\u2028\u2029\ufeff\U000e0041", `\u2028\u2029\ufeff\U000e0041`, `\u2028\u2029\ufeff\U000e0041`},

		// Backslashes in the name itself.
		{`type\:.eq.T`, `type\:.eq.T`, `type\:.eq.T`},
		{`\x1b`, `\x1b`, `\\x1b`},
		{`\\x1b`, `\\x1b`, `\\\\x1b`},
		{`\` + "\n", `\\n`, `\\\n`},
		{`\:` + "\x1b", `\:\x1b`, `\\:\x1b`},
		{`\xq \u12 \q`, `\xq \u12 \q`, `\xq \u12 \q`},
	} {
		if got := Text(c.in); got != c.text {
			t.Errorf("Text(%q) is %s, want %s", c.in, got, c.text)
		}
		if got := Name(c.in); got != c.name {
			t.Errorf("Name(%q) is %s, want %s", c.in, got, c.name)
		}
	}
}

// FuzzName checks that the result is printable, and unique for its name.
func FuzzName(f *testing.F) {
	for _, s := range []string{"main.f", "\x1b[2J\n", `\x1b`, `\\` + "\u202e", "\xff", `\` + "\xc2", `\u202e`, "\u009b", `a\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, text := Name(s), Text(s)
		for _, shown := range []string{name, text} {
			if !utf8.ValidString(shown) || strings.ContainsFunc(shown, hidden) {
				t.Errorf("%q is shown as %q", s, shown)
			}
		}
		if got := Text(text); got != text {
			t.Errorf("%q is %s, and then %s", s, text, got)
		}
		if got := Text(name); got != name {
			t.Errorf("%q is named %s, and then %s", s, name, got)
		}
		if got := read(t, name); got != s {
			t.Errorf("%q is named %s, which is also the name of %q", s, name, got)
		}
	})
}

// read returns the name for a result.
func read(t *testing.T, shown string) string {
	if !escape.MatchString(shown) {
		return shown
	}
	var b []byte
	for shown != "" {
		if shown[0] != '\\' {
			b, shown = append(b, shown[0]), shown[1:]
			continue
		}
		c, n := rune(0), 2
		switch kind := shown[1]; kind {
		case '\\':
			c = '\\'
		case 'x', 'u', 'U':
			n += map[byte]int{'x': 2, 'u': 4, 'U': 8}[kind]
			for _, digit := range shown[2:n] {
				c = c<<4 | rune(strings.IndexRune("0123456789abcdef", digit))
			}
			if kind == 'x' { // a byte
				b, shown = append(b, byte(c)), shown[n:]
				continue
			}
		default:
			c = rune("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", kind)])
		}
		b, shown = utf8.AppendRune(b, c), shown[n:]
	}
	return string(b)
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, "one", "two\nforged", ""); err != nil {
		t.Fatal(err)
	}
	if err := Printf(&b, "%s is %d", "a\x1b", 3); err != nil {
		t.Fatal(err)
	}
	const want = "one\ntwo\\nforged\n\na\\x1b is 3\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

// BenchmarkText measures a line that needs no escapes.
func BenchmarkText(b *testing.B) {
	line := "15:04:05.000000 1234/1234 command libc.so.6:write(0x1, 0x7ffd5e8a1c30, 0x1000)"
	for b.Loop() {
		if Text(line) != line {
			b.Fatal("it is another")
		}
	}
}
