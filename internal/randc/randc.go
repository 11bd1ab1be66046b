// Package randc makes C programs of random functions, each of which prints its arguments and its result as
// ptracer shows them, for tests that compare both.
package randc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Function is a function of a program.
type Function struct {
	Name   string
	Fields []Field // of its arguments and its result, in the order in which it prints their values
	// Static functions are known to one file only: compilers may change how these are called.
	Static bool
}

// Known reports whether at least one of a function's values is to be had by a handler: others may have
// changed how it is called, or all be floating point.
func (f *Function) Known() bool {
	return !f.Static && slices.ContainsFunc(f.Fields, func(v Field) bool { return !v.Float && !v.Large && !v.Hidden })
}

// Field is a value.
type Field struct {
	Expr string
	// Float is set of a value that has floating point in it, which may be in a register that handlers do
	// not see.
	Float bool
	// Hidden is set of a value that the program does not print.
	Hidden bool
	// Large is set of a result of more than two words: on arm64 it lies where only the caller knows.
	Large bool
}

// kind is a type of arguments.
type kind struct {
	name string // of the type
	text string // the statement that prints a value, %s
	make string // an expression that makes one of the number n
	deep []string
}

const head = `#include <stdio.h>
#include <stdbool.h>
#include <unistd.h>
#ifdef __clang__
#define NOCLONE
#else
#define NOCLONE __attribute__((noclone)) /* calls would go to a copy of another name */
#endif
enum color { RED, GREEN = 4, BLUE = -2 };
struct s1 { int a; short b; };
struct s2 { long x; long y; };
struct s3 { long v[3]; };
struct s4 { char c; int i; char d; };
struct s5 { unsigned a : 3; int b : 7; unsigned long c : 40; };
struct s6 { struct s1 in; unsigned char u[4]; };
struct s7 { const char *s; enum color k; };
struct f2 { float x, y; };
struct d1 { double d; int i; };
struct e0 { };
struct k1 { char c; int i; short s; } __attribute__((packed));
struct q1 { __int128 q; };
static void pi(long v) { printf("%ld", v); }
static void pu(unsigned long v) { printf("%lu", v); }
static void pc(int v) { printf("%d", v); if (v > ' ' && v < 127) printf(" '%c'", v); }
static void pb(bool v) { printf(v ? "true" : "false"); }
static void pe(enum color v) { if (v == RED) printf("RED"); else if (v == GREEN) printf("GREEN"); else printf("BLUE"); }
static void ps(const char *s) { printf("\"%s\"", s); }
static void p1(struct s1 v) { printf("{a=%d, b=%d}", v.a, v.b); }
static void p2(struct s2 v) { printf("{x=%ld, y=%ld}", v.x, v.y); }
static void p3(struct s3 v) { printf("{v=[%ld, %ld, %ld]}", v.v[0], v.v[1], v.v[2]); }
static void p4(struct s4 v) { printf("{c="); pc(v.c); printf(", i=%d, d=", v.i); pc(v.d); printf("}"); }
static void p5(struct s5 v) { printf("{a=%u, b=%d, c=%lu}", v.a, v.b, (unsigned long)v.c); }
static void p6(struct s6 v) { printf("{in="); p1(v.in); printf(", u=[%d, %d, %d, %d]}", v.u[0], v.u[1], v.u[2], v.u[3]); }
static void pk1(struct k1 v) { printf("{c="); pc(v.c); printf(", i=%d, s=%d}", v.i, v.s); }
static void pf(double v) { printf("%g", v); }
static void pf2(struct f2 v) { printf("{x=%g, y=%g}", v.x, v.y); }
static void pd1(struct d1 v) { printf("{d=%g, i=%d}", v.d, v.i); }
static const char *const texts[] = { "zero", "one", "", "three and more" };
static const enum color colors[] = { RED, GREEN, BLUE };
static struct s1 m1(long n) { return (struct s1){ (int)(n * 100003), (short)-n }; }
static struct s2 m2(long n) { return (struct s2){ n * -1000000007L, n + 1 }; }
static struct s3 m3(long n) { return (struct s3){ { n, -n, n << 33 } }; }
static struct s4 m4(long n) { return (struct s4){ (char)('a' + n % 26), (int)(n * -7), (char)('A' + n % 26) }; }
static struct s5 m5(long n) { return (struct s5){ n & 7, (int)(n % 64) - 32, (unsigned long)n * 12345678 & ((1UL << 40) - 1) }; }
static struct s6 m6(long n) { struct s6 v = { m1(n + 1), { n & 255, 1, 255, (n * 3) & 255 } }; return v; }
static struct s7 m7(long n) { return (struct s7){ texts[n & 3], colors[n % 3] }; }
static struct k1 mk1(long n) { return (struct k1){ (char)('a' + n % 26), (int)(n * 70001), (short)-n }; }
static struct f2 mf2(long n) { return (struct f2){ n * 0.5f, n * -0.25f }; }
static struct d1 md1(long n) { return (struct d1){ n * 1.5, (int)-n }; }
static int ints[8] = { 3, -1, 4, -1, 5, -9, 2, 6 };
static struct s5 cells[4] = { { 1, -1, 10 }, { 2, -2, 20 }, { 3, -3, 30 }, { 7, 31, 1UL << 39 } };
static struct s7 names[4];
`

var kinds = []kind{
	{"char", "pc(%s)", "(char)('a' + (%s) %% 26)", nil},
	{"signed char", "pc(%s)", "(signed char)-(%s)", nil},
	{"unsigned char", "pc(%s)", "(unsigned char)(200 + (%s))", nil},
	{"short", "pi(%s)", "(short)(-3 * (%s))", nil},
	{"unsigned short", "pu(%s)", "(unsigned short)(65000 + (%s))", nil},
	{"int", "pi(%s)", "(int)(-100003 * (%s))", nil},
	{"unsigned", "pu(%s)", "4000000000u + (unsigned)(%s)", nil},
	{"long", "pi(%s)", "-1000000000007L * (%s)", nil},
	{"unsigned long", "pu(%s)", "18000000000000000000UL + (unsigned long)(%s)", nil},
	{"bool", "pb(%s)", "(%s) & 1", nil},
	{"enum color", "pe(%s)", "colors[(%s) %% 3]", nil},
	{"const char *", "ps(%s)", "texts[(%s) & 3]", nil},
	{"struct s1", "p1(%s)", "m1(%s)", []string{"pi(%s.a)", "pi(%s.b)"}},
	{"struct s2", "p2(%s)", "m2(%s)", []string{"pi(%s.y)"}},
	{"struct s3", "p3(%s)", "m3(%s)", []string{"pi(%s.v[2])"}},
	{"struct s4", "p4(%s)", "m4(%s)", []string{"pi(%s.i)", "pc(%s.d)"}},
	{"struct s5", "p5(%s)", "m5(%s)", []string{"pu(%s.a)", "pi(%s.b)", "pu(%s.c)"}},
	{"struct s6", "p6(%s)", "m6(%s)", []string{"pi(%s.in.b)", "pc(%s.u[2])"}},
	{"const int *", "", "&ints[(%s) & 7]", []string{"pi(*%s)", "pi(%s[0])"}},
	{"const struct s5 *", "", "&cells[(%s) & 3]", []string{"p5(*%s)", "pi(%s->b)", "pu(%s->c)"}},
	{"const struct s7 *", "", "&names[(%s) & 3]", []string{"ps(%s->s)", "pe(%s->k)"}},
	{"float", "pf(%s)", "(float)(%s) * 0.5f", nil},
	{"double", "pf(%s)", "(double)(%s) * -0.25", nil},
	{"struct f2", "pf2(%s)", "mf2(%s)", nil},
	{"struct d1", "pd1(%s)", "md1(%s)", []string{"pi(%s.i)"}},
	{"struct k1", "pk1(%s)", "mk1(%s)", []string{"pi(%s.i)", "pi(%s.s)"}},
	// These are not shown, but what follows them has to be found.
	{"struct e0", "", "(struct e0){ }", nil},
	{"__int128", "", "(__int128)(%s) << 70", nil},
	{"struct q1", "", "(struct q1){ (__int128)(%s) << 70 }", nil},
	{"long double", "", "(long double)(%s)", nil},
}

// maxFields is how many values a function shows, beside its result.
const maxFields = 10

// float reports whether a type has floating point in it.
func (k kind) float() bool {
	return strings.HasPrefix(k.text, "pf") || strings.HasPrefix(k.text, "pd")
}

// value is an expression that makes a value of a number.
func (k kind) value(of string) string {
	if !strings.Contains(k.make, "%s") {
		return k.make
	}
	return fmt.Sprintf(k.make, of)
}

// Program makes a program of n functions, which calls each a few times: Calls. The same seed makes the same
// program.
func Program(seed uint64, n int) (source string, list []Function) {
	r := rand.New(rand.NewPCG(seed, 1))
	var b, calls strings.Builder
	b.WriteString(head)
	for i := range n {
		f := Function{Name: fmt.Sprintf("f%d", i), Static: r.IntN(4) == 0}
		f.write(&b, &calls, r)
		list = append(list, f)
	}
	fmt.Fprintf(&b, "int main(int argc, char **argv)\n{\n\t(void)argc; (void)argv;\n\tsetvbuf(stdout, 0, _IOFBF, 1 << 20);\n\tfor (int i = 0; i < 4; i++)\n\t\tnames[i] = m7(i);\n")
	fmt.Fprintf(&b, "\tprintf(\"pid %%d\\n\", getpid());\n\tfflush(stdout);\n\tgetchar();\n\tfor (long n = 0; n < %d; n++) {\n%s\t}\n\treturn 0;\n}\n", Calls, calls.String())
	return b.String(), list
}

// Calls is how often each function of a program is called.
const Calls = 5

// write writes a function, and a call of it.
func (f *Function) write(b, calls *strings.Builder, r *rand.Rand) {
	result := kinds[r.IntN(len(kinds))]
	var params, args, prints []string
	for i := range r.IntN(9) {
		k, p := kinds[r.IntN(len(kinds))], fmt.Sprintf("v%d", i)
		params = append(params, k.name+" "+p)
		args = append(args, k.value(fmt.Sprintf("n + %d", i+r.IntN(20))))
		show := k.deep
		if k.text != "" {
			show = append([]string{k.text}, show...)
		}
		for _, text := range show {
			if len(f.Fields) >= maxFields || r.IntN(3) == 0 && text != k.text {
				continue
			}
			field := fmt.Sprintf(text[strings.Index(text, "(")+1:len(text)-1], p)
			f.Fields = append(f.Fields, Field{Expr: field, Float: k.float()})
			prints = append(prints, fmt.Sprintf("printf(\" %s=\"); ", field)+fmt.Sprintf(text, p)+";")
		}
	}
	storage := "__attribute__((noinline)) "
	if f.Static {
		storage += "static "
	} else {
		storage += "NOCLONE "
	}
	if len(params) == 0 {
		params = []string{"void"}
	}
	back := result.value(fmt.Sprint(r.IntN(50)))
	fmt.Fprintf(b, "%s%s %s(%s)\n{\n\tprintf(\"%s\");\n", storage, result.name, f.Name, strings.Join(params, ", "), f.Name)
	for _, p := range prints {
		fmt.Fprintf(b, "\t%s\n", p)
	}
	show, field := result.text, "ret"
	switch {
	case show != "":
		show = fmt.Sprintf(show, "ret")
	case result.deep == nil:
		show = `printf("...")`
	default:
		field = fmt.Sprintf(result.deep[0][strings.Index(result.deep[0], "(")+1:len(result.deep[0])-1], "ret")
		show = fmt.Sprintf(result.deep[0], "ret")
	}
	fmt.Fprintf(b, "\t%s ret = %s;\n\tprintf(\" %s=\"); %s; printf(\"\\n\");\n\treturn ret;\n}\n", result.name, back, field, show)
	f.Fields = append(f.Fields, Field{Expr: field, Float: result.float(), Hidden: result.text == "" && result.deep == nil, Large: result.name == "struct s3"})
	fmt.Fprintf(calls, "\t\t%s(%s);\n", f.Name, strings.Join(args, ", "))
}
