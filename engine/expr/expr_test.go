package expr

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"a & 7 == 0", "((a & 7) == 0)"},
		{"a.b.c", "a.b.c"},
		{"order->customer.name", "order.customer.name"},
		{"a->b - c", "(a.b - c)"},
		{"a-b>c", "((a - b) > c)"},
		{"list[i+1].next", "list[(i + 1)].next"},
		{"s[1:n]", "s[1:n]"},
		{"s[:n][1:]", "(s[:n])[1:]"},
		{"s[:]", "s[:]"},
		{"*p == 3", "(*p == 3)"},
		{"*p.x", "*p.x"},
		{"(*p).x", "(*p).x"},
		{"**p + &x", "(*(*p) + &x)"},
		{"p.*", "*p"},
		{"a * b", "(a * b)"},
		{"a & &b", "(a & &b)"},
		{"(a) * b", "(a * b)"},
		{"(a) - 1", "(a - 1)"},
		{"(struct order *)arg0", "((struct order *)arg0)"},
		{"((struct order *)arg0)->total", "((struct order *)arg0).total"},
		{"(order *)arg0", "((order *)arg0)"},
		{"(order **)*p", "((order **)(*p))"},
		{"(unsigned char)(x + 1)", "((unsigned char)(x + 1))"},
		{"(size_t)n", "((size_t)n)"},
		{"(a)(b)", ""},
		{"uint32(ret)", "uint32(ret)"},
		{"len(req.Body) > 3 && str(p, 4) == \"x\"", `((len(req.Body) > 3) && (str(p, 4) == "x"))`},
		{"ns::counter + a::b::c", "(ns::counter + a::b::c)"},
		{"pair.0 == 1", "(pair.0 == 1)"},
		{"v[0][1]", "v[0][1]"},
		{"$rdi->x", "$rdi.x"},
		{"!a && -b", "(!a && -b)"},
		{"^a", "~a"},
		{"99999999999999999999", ""},
		{"a.", ""},
		{"a->1+", ""},
		{"a[", ""},
		{"a[]", ""},
		{"a[1", ""},
		{"a[1:2:3]", ""},
		{"f()", ""},
		{"f(1,)", ""},
		{"f(1 2)", ""},
		{"&&b", ""},
		{"a ::b", ""},
		{"a" + strings.Repeat(".a", 80), ""},
		{strings.Repeat("a[", 80), ""},
	} {
		n, err := Parse(Source{Text: c.in})
		if err != nil {
			if c.out != "" || !errors.Is(err, ErrSyntax) {
				t.Errorf("%s: %v", c.in, err)
			}
			continue
		}
		if got := n.String(); got != c.out {
			t.Errorf("%s: %s, want %s", c.in, got, c.out)
		}
	}
}

func TestWalk(t *testing.T) {
	n, err := Parse(Source{Text: "f(a, *b) + c.x[d][e:] + (T *)g"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	Walk(n, func(n Node) bool {
		if n, ok := n.(*Name); ok {
			names = append(names, n.Name)
		}
		return true
	})
	if got := strings.Join(names, ""); got != "abcdeg" {
		t.Errorf("names %q", got)
	}
	seen := 0
	Walk(n, func(Node) bool { seen++; return seen < 3 })
	if seen != 3 {
		t.Errorf("%d nodes after the end", seen)
	}
}

// An expression that was parsed and written parses to the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"arg0 > 4096 && arg1 == 2", `str(arg1) =~ "foo*" || !(comm == "a\x02")`, "(struct x *)a->b[1:c]", "s[:n][1:]", "a::b.0.*",
		"load64($rsp + 8) &^ ~7 << 2 >= 0x1f", "!-~1", "!! ~0", `comm != "`, "((((", "(a)b", "(a*)(b*)c", "&a & *b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(Source{Text: s})
		if err != nil {
			if !errors.Is(err, ErrSyntax) || err.Error() == "" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		text := n.String()
		if len(text) > MaxText || strings.Count(text, "(") > maxDepth/4 {
			return
		}
		again, err := Parse(Source{Text: text})
		if err != nil {
			t.Fatalf("%q became %q: %v", s, text, err)
		}
		if got := again.String(); got != text {
			t.Fatalf("%q became %q, then %q", s, text, got)
		}
	})
}
