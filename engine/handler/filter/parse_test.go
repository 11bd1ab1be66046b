package filter

import (
	"errors"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/engine/expr"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"arg0 > 4096 && arg1 == 2", "((arg0 > 4096) && (arg1 == 2))"},
		{"ret < 0", "(ret < 0)"},
		{"retval<0", "(ret < 0)"},
		{"!(arg0 & 7)", "!(arg0 & 7)"},
		{"arg0 & 7 == 0", "((arg0 & 7) == 0)"},
		{`str(arg1) == "foo"`, `(str(arg1) == "foo")`},
		{`str(arg1) =~ "foo*"`, `(str(arg1) =~ "foo*")`},
		{`str(arg1) =~ "foo"`, `(str(arg1) == "foo")`},
		{`str(arg1, 3 + arg2) == "foo"`, `(str(arg1, (arg2 + 3)) == "foo")`},
		{`"foo" != str(arg1+8)`, `!(str((arg1 + 8)) == "foo")`},
		{`comm !~ "re*"`, `!(comm =~ "re*")`},
		{`comm == "a\"\x01"`, `(comm == "a\x22\x01")`},
		{"pid == 12 || tid != 13", "((pid == 12) || (tid != 13))"},
		{"arg0 + 2*3 - 4 - 5", "(((arg0 + 6) - 4) - 5)"},
		{"1 + 2*3 << 1", "13"},
		{"0x10 | 0b11 | 4_0", "59"},
		{"'a' + '\\n'", "107"},
		{"'é' == 0xe9", "1"},
		{"-1 < 0", "1"},
		{"-1 < 0u", "0"},
		{"uint64(-1) > 1", "1"},
		{"int(0xffffffff)", "-1"},
		{"uint8(0x1ff)", "255"},
		{"0xffffffffffffffff", "18446744073709551615u"},
		{"-5 / 2", "-2"},
		{"-5 % 2", "-1"},
		{"-5 >> 1", "-3"},
		{"7 / 0", "0"},
		{"7 % 0", "7"},
		{"1 << 65", "2"},
		{"0 && arg0", "0"},
		{"arg0 || 2", "1"},
		{"1 && arg0", "(arg0 != 0)"},
		{"1 && arg0 > 2", "(arg0 > 2)"},
		{"4096 < arg0", "(arg0 > 4096)"},
		{"5 - arg0", "(5 - arg0)"},
		{"~arg0 &^ 1", "(~arg0 &^ 1)"},
		{"load32(arg0+4) > 1", "(load32((arg0 + 4)) > 1)"},
		{"$rbx == $r12", "($rbx == $r12)"},
		{"uid == 0 && gid == 0 && cpu == 1", "(((uid == 0) && (gid == 0)) && (cpu == 1))"},
	} {
		e, err := Parse(c.in, Options{})
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := e.String(); got != c.out {
			t.Errorf("%s: %s, want %s", c.in, got, c.out)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		in, msg string
		pos     int
	}{
		{"", "it is empty: a value is missing, such as arg0", 0},
		{"arg0 >", "a value is missing before the end", 6},
		{"arg0 > > 1", `a value is missing before ">"`, 7},
		{"arg0 1", `"1" after the expression`, 5},
		{"(arg0", ") is missing before the end", 5},
		{"arg16", `"arg16" is not known`, 0},
		{"1 + foo", `"foo" is not known`, 4},
		{"arg0 # 1", "'#' means nothing here", 5},
		{"0xzz", `"0xzz" is no number`, 0},
		{"99999999999999999999", `"99999999999999999999" is more than 64 bits`, 0},
		{`str(arg0) == "foo`, "the string does not end", 13},
		{`str(arg0) == "\q"`, "no such escape", 14},
		{`str(arg0) == "\x00"`, "a string holds no byte 0", 13},
		{`str(arg0) == arg1`, `a string is compared with a literal, as "text"`, 13},
		{`str(arg0) == str(arg1)`, `a string is compared with a literal, as "text"`, 13},
		{`arg0 == "foo"`, "== compares str(address) or comm with a string", 0},
		{`str(arg0) < "foo"`, "< takes no string", 0},
		{`str(arg0)`, "a string alone is no number, and no condition: compare it", 0},
		{`comm =~ "a*b"`, "* matches at the end of a string only", 8},
		{`comm == "1234567890123456"`, "the name of a thread has no more than 15 bytes", 8},
		{`!comm`, "! takes no string", 1},
		{`str("x") == "y"`, "str takes a number", 4},
		{`str arg0 == "y"`, `"arg0" after the expression`, 4},
		{`str == "y"`, "str takes a number in parentheses", 0},
		{"arg0.x", needsNames, 4},
		{"arg0[1]", needsNames, 4},
		{"*arg0", needsNames, 0},
		{"load8(1, 2)", "load8 takes one number", 9},
		{"str(1, 2, 3) == \"y\"", "str takes an address, and a length", 10},
		{"'ab'", "a character constant is one character", 0},
		{"''", "a character constant is one character", 0},
		{"$", "$ without the name of a register", 0},
		{"$ + 1", "$ without the name of a register", 0},
		{strings.Repeat("(", 80) + "1", "nested more than 64 deep", 64},
		{strings.Repeat("!", 80) + "1", "nested more than 64 deep", 64},
		{strings.Repeat("1+", 3000) + "1", "longer than 4096 bytes", 4096},
	} {
		_, err := Parse(c.in, Options{})
		var e *expr.Error
		if !errors.As(err, &e) || !errors.Is(err, expr.ErrSyntax) {
			t.Errorf("%.40s: %v", c.in, err)
			continue
		}
		if e.Msg != c.msg || e.Pos != c.pos {
			t.Errorf("%.40s: %q at %d, want %q at %d", c.in, e.Msg, e.Pos, c.msg, c.pos)
		}
	}
}

func TestCaret(t *testing.T) {
	_, err := Parse("arg0 > 1 &&\n\tärg1 == 2", Options{})
	want := "filter: 'ä' means nothing here\n  \tärg1 == 2\n  \t^"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	_, err = Parse("1 +", Options{What: "--of"})
	want = "--of: a value is missing before the end\n  1 +\n     ^"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	_, err = Parse("", Options{})
	want = "filter: it is empty: a value is missing, such as arg0"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	_, err = Parse("comm == \"ü\" & 1", Options{})
	want = "filter: & takes no string\n  comm == \"ü\" & 1\n          ^"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

// An expression that was parsed and written parses to the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"arg0 > 4096 && arg1 == 2", `str(arg1) =~ "foo*" || !(comm == "a\x02")`, "int8(ret) / -3u % 'x'",
		"load64($rsp + 8) &^ ~7 << 2 >= 0x1f", "!-~1", "!! ~0", `comm != "`, "((((",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		raw, err := Parse(s, Options{Raw: true})
		if err != nil {
			if !errors.Is(err, expr.ErrSyntax) || err.Error() == "" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		e, err := Parse(s, Options{})
		if err != nil {
			t.Fatalf("%q parses raw only: %v", s, err)
		}
		for _, e := range []*Expr{raw, e} {
			text := e.String()
			if len(text) > expr.MaxText || strings.Count(text, "(") > 32 {
				continue
			}
			again, err := Parse(text, Options{Raw: true})
			if err != nil {
				t.Fatalf("%q became %q: %v", s, text, err)
			}
			if got := again.String(); got != text && !strings.Contains(text, "-") {
				t.Fatalf("%q became %q, then %q", s, text, got)
			}
		}
	})
}
