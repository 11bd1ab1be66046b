// Package filter is the language of conditions. `arg0 > 4096 && arg1 == 2` is parsed, checked, and
// compiled to instructions that run in front of a handler, or evaluated directly. The same language
// says which number a handler counts, as in hist(uint32(ret)).
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
// All numbers have 64 bits and are signed (int64), unless they are cast: int8(x) to int64(x),
// uint8(x) to uint64(x) cut x to that size and extend it again; int and uint are C's, of 32 bits.
// An operation with an operand of type uint64 (by cast, by load64, by the suffix u, or a constant
// above 1<<63 - 1) is unsigned, any other is signed. A register may have more bits set than a C int
// has: write int(ret) < 0.
//
// # Operators
//
// The operators are Go's, with Go's precedence, so that arg0 & 7 == 0 compares arg0 & 7:
//
//	||
//	&&
//	== != < <= > >=   =~ !~ (strings: "foo*" is a prefix, "foo" the whole)
//	+ - | ^
//	* / % << >> & &^
//	! - ^ ~           (unary)
//
// Comparisons, !, && and || give 1 or 0; any number but 0 is true. x/0 is 0 and x%0 is x, as in
// eBPF; shift counts are modulo 64. At most one byte more than the literal is read of a string. If
// memory can't be read, the whole condition is false, even if it was negated: its value is not
// known.
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

// Error is a mistake in the text, at a byte offset.
type Error struct {
	Text string
	Pos  int
	Msg  string
	What string // what the text is, see Options
}

// Error returns the message, and below it the text with a caret at the mistake.
func (e *Error) Error() string { return strings.Join(e.Lines(), "\n") }

// Lines returns the lines of Error: the text is a single line, whatever characters it has.
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

// Options of Parse.
type Options struct {
	// Names are additional names and the expressions that they stand for, such as a function's
	// parameters: "size": "uint32(arg2)".
	Names map[string]string
	// Raw does not fold constant expressions.
	Raw bool
	// Strings allows str(address) and comm as the whole expression, see Expr.IsString.
	Strings bool
	// What errors call the text: the name of a flag. "": a filter.
	What string
	// Context is the context of the functions that the expression is for; if it is empty, they are
	// C's. The caller must not give the expression to a Builder with another calling convention.
	Context program.Context
}

// Expr is a parsed and checked expression.
type Expr struct {
	text string
	root *node
}

// Parse parses an expression with a numeric value. Errors are an *Error.
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

// Text is the parsed text.
func (e *Expr) Text() string { return e.text }

// String writes the expression with all parentheses.
func (e *Expr) String() string { return e.root.String() }

// Const is the expression's value if it is the same at each hit.
func (e *Expr) Const() (value uint64, ok bool) { return e.root.value, e.root.kind == kConst }

// Signed reports whether the value is an int64, not a uint64.
func (e *Expr) Signed() bool { return !e.root.unsigned }

// IsString reports whether the expression is comm or str(address); Address returns that address.
func (e *Expr) IsString() bool { return e.root.kind.isString() }

// IsComm reports whether the expression is comm.
func (e *Expr) IsComm() bool { return e.root.kind == kComm }

// Address is the address in str(address), nil if the expression has another form.
func (e *Expr) Address() *Expr {
	if e.root.kind != kStr {
		return nil
	}
	return &Expr{e.root.x.String(), e.root.x}
}

// Length is the length of the string at Address, nil if a 0 ends the string: in Go str(argN) and
// str(ret) are two words, a pointer and a length.
func (e *Expr) Length() *Expr {
	if e.root.kind != kStr || lengthOf(e.root) == nil {
		return nil
	}
	n := lengthOf(e.root)
	return &Expr{n.String(), n}
}

// Needs returns the right that the expression needs: to read memory, or none.
func (e *Expr) Needs() program.Rights {
	if e.root.any(func(n *node) bool { return n.kind == kLoad || n.kind == kStr }) {
		return program.ReadMemory
	}
	return 0
}

// UsesArgs reports whether the expression has a value at a function's entry only.
func (e *Expr) UsesArgs() bool {
	return e.root.any(func(n *node) bool { return n.kind == kArg || n.arg })
}

// UsesRet reports whether the expression has a value at a function's exit only.
func (e *Expr) UsesRet() bool { return e.root.any(func(n *node) bool { return n.kind == kRet }) }
