// Package filter is the language of conditions: `arg0 > 4096 && arg1 == 2` is
// parsed, checked, and compiled to instructions that run in front of a handler,
// or evaluated directly. The same language says which number a handler counts,
// as in hist(uint32(ret)).
//
// # Values
//
//	arg0 ... arg15  arguments of the function, at its entry, as its calling convention
//	                has them (C: up to arg5 on amd64, to arg7 on arm64; Go: to arg8
//	                and to arg15, where a string is two, a slice three)
//	ret             what it returns, at its exit: of Go's results the first word
//	$rbx, $x19      a register, by the kernel's name
//	pid tid uid gid cpu time cookie ip
//	                process, thread, user, group, CPU, nanoseconds of the
//	                monotonic clock, number of the probe, address of the probe
//	12 0x1f 0b101 4_096 10u 'a' '\n'
//	load8(a) load16(a) load32(a) load64(a)
//	                unsigned number in memory at address a
//	str(a) comm     string in memory at address a, up to a 0 (of Go's functions
//	                str(argN) and str(ret) take a pointer and the length behind it);
//	                name of the thread
//	"text"          only to compare strings with
//
// All numbers have 64 bits and are signed (int64), unless they are cast:
// int8(x) to int64(x), uint8(x) to uint64(x) cut x to that size and extend it
// again; int and uint are C's, of 32 bits. An operation of which one side is of
// uint64 (by cast, by load64, by the suffix u, by a constant above 1<<63 - 1) is
// unsigned, every other one is signed. A register holds more than a C int does:
// write int(ret) < 0.
//
// # Operators
//
// Go's, with Go's precedence, so that arg0 & 7 == 0 means what it says:
//
//	||
//	&&
//	== != < <= > >=   =~ !~ (strings: "foo*" is a prefix, "foo" the whole)
//	+ - | ^
//	* / % << >> & &^
//	! - ^ ~           (unary)
//
// Comparisons, !, && and || give 1 or 0; any number but 0 is true. x/0 is 0 and
// x%0 is x, as in eBPF; shifts count modulo 64. A string longer than the literal
// by more than a byte is not read on. Where memory can't be read the condition
// is false as a whole, even if it was negated: there is nothing to say about it.
//
// The package is pure; it imports packages program, build and arch.
package filter

import (
	"cmp"
	"errors"
	"strings"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// ErrSyntax is wrapped by all errors of Parse.
var ErrSyntax = errors.New("filter")

// Limits of an expression.
const (
	MaxText   = 4096 // bytes
	maxDepth  = 64   // of nesting
	maxString = 200  // bytes of a literal
	maxComm   = 15
)

// Error is a mistake in the text, at a byte.
type Error struct {
	Text string
	Pos  int
	Msg  string
	What string // the text is, see Options
}

// Error gives the message, and below it the text and a caret at the place.
func (e *Error) Error() string { return strings.Join(e.Lines(), "\n") }

// Lines are those of Error: the text is one, whatever is in it.
func (e *Error) Lines() []string {
	what := cmp.Or(e.What, "filter")
	if e.Text == "" {
		return []string{what + ": " + e.Msg}
	}
	line, col := e.Text, e.Pos
	if i := strings.LastIndexByte(line[:col], '\n'); i >= 0 {
		line, col = line[i+1:], col-i-1
	}
	head := line[:col]
	line, _, _ = strings.Cut(line, "\n")
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, head)
	return []string{what + ": " + e.Msg, "  " + line, "  " + indent + "^"}
}

// Unwrap makes errors.Is find ErrSyntax.
func (e *Error) Unwrap() error { return ErrSyntax }

// Options are what Parse is told beside the text.
type Options struct {
	// Names are further names and the expressions they stand for, as a
	// function's parameters: "size": "uint32(arg2)".
	Names map[string]string
	// Raw leaves constant expressions as they are.
	Raw bool
	// Strings allows str(address) and comm alone, see Expr.IsString.
	Strings bool
	// What the text is, as errors call it: the name of a flag. "": a filter.
	What string
	// Context is that of the functions that it is for; without one they are C's. A
	// Builder of another calling convention must not be given the expression.
	Context program.Context
}

// Expr is an expression that was parsed and checked.
type Expr struct {
	text string
	root *node
}

// Parse reads an expression, a number. Errors are an *Error.
func Parse(text string, o Options) (*Expr, error) {
	p := parser{text: text, what: o.What, names: o.Names}
	n, err := p.whole()
	if err != nil {
		return nil, err
	}
	if n.kind == kLiteral || n.kind.isString() && !o.Strings {
		return nil, p.fail(n.pos, "a string alone is no number, and no condition: compare it")
	}
	if !o.Raw {
		n = fold(n)
	}
	return &Expr{text, under(n, o.Context)}, nil
}

// Text is what was parsed.
func (e *Expr) Text() string { return e.text }

// String writes the expression again, with all parentheses.
func (e *Expr) String() string { return e.root.String() }

// Const is the expression's value if it is the same at each hit.
func (e *Expr) Const() (value uint64, ok bool) { return e.root.value, e.root.kind == kConst }

// Signed is whether the value is to be understood as int64.
func (e *Expr) Signed() bool { return !e.root.unsigned }

// IsString is whether the expression is str(address), whose address Address
// gives, or comm.
func (e *Expr) IsString() bool { return e.root.kind.isString() }

// IsComm is whether the expression is comm.
func (e *Expr) IsComm() bool { return e.root.kind == kComm }

// Address is the address in str(address), nil if the expression is not that.
func (e *Expr) Address() *Expr {
	if e.root.kind != kStr {
		return nil
	}
	return &Expr{e.root.x.String(), e.root.x}
}

// Length is how long the string at Address is, nil where a 0 ends it: in Go str(argN)
// and str(ret) are two words, a pointer and a length.
func (e *Expr) Length() *Expr {
	if e.root.kind != kStr || lengthOf(e.root) == nil {
		return nil
	}
	n := lengthOf(e.root)
	return &Expr{n.String(), n}
}

// Needs is what the expression may do: read memory, or nothing.
func (e *Expr) Needs() program.Rights {
	if e.root.any(func(n *node) bool { return n.kind == kLoad || n.kind == kStr }) {
		return program.ReadMemory
	}
	return 0
}

// UsesArgs is whether the expression means something at a function's entry
// only, UsesRet at its exit only.
func (e *Expr) UsesArgs() bool {
	return e.root.any(func(n *node) bool { return n.kind == kArg || n.arg })
}

// UsesRet is whether the expression means something at a function's exit only.
func (e *Expr) UsesRet() bool { return e.root.any(func(n *node) bool { return n.kind == kRet }) }
