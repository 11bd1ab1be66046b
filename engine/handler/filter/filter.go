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
//	str(a, n)       string of n bytes at address a
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
// Package expr has the operators; members, elements and pointers have no meaning here.
//
// Comparisons, !, && and || give 1 or 0; any number but 0 is true. x/0 is 0 and x%0 is x, as in
// eBPF; shift counts are modulo 64. At most one byte more than the literal is read of a string. If
// memory can't be read, the whole condition is false, even if it was negated: its value is not
// known.
//
// The package is pure; it imports packages expr, program, build and arch.
package filter

import (
	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/handler/program"
)

const maxComm = 15 // bytes

// Options of Parse.
type Options struct {
	// Open allows names that the language does not know. They have no value until package bind has
	// put expressions in their place: the handler serves to make the maps only.
	Open bool
	// As is the expression, with names, that this one is put in the place of: it has its values at the
	// same points of a function, and needs the same rights.
	As *Expr
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
	as   *Expr // see Options
}

// Parse parses an expression with a numeric value. Errors are an *expr.Error.
func Parse(text string, o Options) (*Expr, error) {
	c := checker{expr.Source{Text: text, What: o.What}, o.Open}
	tree, err := expr.Parse(c.Source)
	if err != nil {
		return nil, err
	}
	n, err := c.node(tree)
	if err != nil {
		return nil, err
	}
	if n.kind == kLiteral || n.kind.isString() && !o.Strings {
		return nil, c.Fail(n.pos, "a string alone is no number, and no condition: compare it")
	}
	if !o.Raw {
		n = fold(n)
	}
	return &Expr{text, under(n, o.Context), o.As}, nil
}

// Text is the parsed text.
func (e *Expr) Text() string { return e.text }

// String writes the expression with all parentheses.
func (e *Expr) String() string { return e.root.String() }

// Const is the expression's value if it is the same at each hit.
func (e *Expr) Const() (value uint64, ok bool) { return e.root.value, e.root.kind == kConst }

// Signed reports whether the value is an int64, not a uint64. One with names is an int64 unless it is cast,
// since places may differ.
func (e *Expr) Signed() bool {
	if e.as != nil {
		return e.as.Signed()
	}
	return !e.root.unsigned
}

// IsString reports whether the expression is comm or str(address); Address returns that address.
func (e *Expr) IsString() bool { return e.root.kind.isString() }

// IsComm reports whether the expression is comm.
func (e *Expr) IsComm() bool { return e.root.kind == kComm }

// Address is the address in str(address), nil if the expression has another form.
func (e *Expr) Address() *Expr {
	if e.root.kind != kStr {
		return nil
	}
	return &Expr{text: e.root.x.String(), root: e.root.x}
}

// Length is the length of the string at Address, nil if a 0 ends the string: in Go str(argN) and
// str(ret) are two words, a pointer and a length.
func (e *Expr) Length() *Expr {
	if e.root.kind != kStr || lengthOf(e.root) == nil {
		return nil
	}
	n := lengthOf(e.root)
	return &Expr{text: n.String(), root: n}
}

// Needs returns the right that the expression needs: to read memory, or none. What names stand for may
// need it.
func (e *Expr) Needs() program.Rights {
	if e.Reads() || e.IsOpen() || e.as != nil && e.as.IsOpen() {
		return program.ReadMemory
	}
	return 0
}

// Reads reports whether the expression reads memory, so that it may have no value.
func (e *Expr) Reads() bool {
	return e.root.any(func(n *node) bool { return n.kind == kLoad || n.kind == kStr })
}

// UsesArgs reports whether the expression has a value at a function's entry only.
func (e *Expr) UsesArgs() bool {
	return e.root.any(func(n *node) bool { return n.kind == kArg || n.arg }) || e.as != nil && e.as.UsesArgs()
}

// UsesRet reports whether the expression has a value at a function's exit only.
func (e *Expr) UsesRet() bool {
	return e.root.any(func(n *node) bool { return n.kind == kRet || n.ret }) || e.as != nil && e.as.UsesRet()
}

// IsOpen reports whether the expression has names that are still to be replaced, see Options.
func (e *Expr) IsOpen() bool { return e.root.any(func(n *node) bool { return n.kind == kOpen }) }

// IsWord reports whether a name is a word of the language, which means the same everywhere.
func IsWord(name string) bool {
	_, ok := names[name]
	_, isArg := argument(name)
	return ok || isArg
}

// IsFunction reports whether a name is that of a function of the language.
func IsFunction(name string) bool {
	_, ok := casts[name]
	return ok || loads[name] != 0 || name == "str"
}
