package filter

import (
	"fmt"
	"strconv"

	"github.com/ptracer/ptracer/engine/expr"
)

// kind is the kind of a node.
type kind uint8

const (
	kConst kind = iota
	kArg        // n
	kRet        // word n
	kReg        // text
	kPID
	kTID
	kUID
	kGID
	kCPU
	kTime
	kCookie
	kIP
	kLoad // n bytes at x
	kCast // of x to n bytes

	kStr     // string at x, y bytes long; nil: up to a 0
	kComm    // string
	kLiteral // text

	kNot
	kNeg
	kCompl
	kBinary // op
	kAnd
	kOr
	kMatch // x, a kStr or kComm, is text; n is whether text is a prefix

	kOpen // what has no value yet, see Options.Open
)

func (k kind) isString() bool { return k == kStr || k == kComm || k == kLiteral }

// node is an expression. unsigned means that its type is uint64.
type node struct {
	kind     kind
	pos      int
	unsigned bool
	signed   bool // of a cast: it extends the sign
	arg      bool // of a load: it loads an argument; of a kOpen: it has a value at the entry only
	ret      bool // of a kOpen: it has a value at the exit only
	op       op
	n        int
	value    uint64
	text     string
	x, y     *node
}

// op is an operator of two numbers.
type op uint8

const (
	opNone op = iota
	opAdd
	opSub
	opOr
	opXor
	opMul
	opDiv
	opMod
	opShl
	opShr
	opAnd
	opAndNot
	opEq
	opNe
	opLt
	opLe
	opGt
	opGe
)

var opText = [...]string{
	opAdd: "+", opSub: "-", opOr: "|", opXor: "^", opMul: "*", opDiv: "/", opMod: "%",
	opShl: "<<", opShr: ">>", opAnd: "&", opAndNot: "&^",
	opEq: "==", opNe: "!=", opLt: "<", opLe: "<=", opGt: ">", opGe: ">=",
}

func (o op) compares() bool { return o >= opEq }

// names maps words to kinds of values.
var names = map[string]kind{
	"ret": kRet, "retval": kRet, "pid": kPID, "tid": kTID, "uid": kUID, "gid": kGID, "cpu": kCPU,
	"time": kTime, "cookie": kCookie, "ip": kIP, "comm": kComm,
}

var kindText = map[kind]string{
	kRet: "ret", kPID: "pid", kTID: "tid", kUID: "uid", kGID: "gid", kCPU: "cpu",
	kTime: "time", kCookie: "cookie", kIP: "ip", kComm: "comm", kOpen: "?",
}

// cast is a type that a number can be cast to.
type cast struct {
	bytes  int
	signed bool
}

var casts = map[string]cast{
	"int8": {1, true}, "int16": {2, true}, "int32": {4, true}, "int64": {8, true}, "int": {4, true},
	"uint8": {1, false}, "uint16": {2, false}, "uint32": {4, false}, "uint64": {8, false}, "uint": {4, false},
}

var loads = map[string]int{"load8": 1, "load16": 2, "load32": 4, "load64": 8}

// isOpen reports whether a part has no value yet.
func (n *node) isOpen() bool { return n != nil && n.kind == kOpen }

// any reports whether is returns true for a node of the tree.
func (n *node) any(is func(*node) bool) bool {
	return n != nil && (is(n) || n.x.any(is) || n.y.any(is))
}

// calls reports whether the code of n calls a helper, which clobbers registers.
func (n *node) calls() bool {
	return n.any(func(n *node) bool {
		switch n.kind {
		case kPID, kTID, kUID, kGID, kCPU, kTime, kCookie, kIP, kLoad, kStr, kComm:
			return true
		}
		return false
	})
}

// isBool reports whether n is 1 or 0.
func (n *node) isBool() bool {
	switch n.kind {
	case kNot, kAnd, kOr, kMatch:
		return true
	case kBinary:
		return n.op.compares()
	case kConst:
		return n.value <= 1
	}
	return false
}

func (n *node) String() string {
	switch n.kind {
	case kConst:
		if n.unsigned {
			return strconv.FormatUint(n.value, 10) + "u"
		}
		return strconv.FormatInt(int64(n.value), 10)
	case kArg:
		return fmt.Sprintf("arg%d", n.n)
	case kReg:
		return "$" + n.text
	case kLoad:
		return fmt.Sprintf("load%d(%s)", 8*n.n, n.x)
	case kCast:
		if n.signed {
			return fmt.Sprintf("int%d(%s)", 8*n.n, n.x)
		}
		return fmt.Sprintf("uint%d(%s)", 8*n.n, n.x)
	case kRet:
		if n.n > 0 {
			return fmt.Sprintf("ret.%d", n.n)
		}
	case kStr:
		if n.y != nil {
			return fmt.Sprintf("str(%s, %s)", n.x, n.y)
		}
		return fmt.Sprintf("str(%s)", n.x)
	case kLiteral:
		return expr.Quote(n.text)
	case kNot:
		return "!" + n.x.String()
	case kNeg:
		return "-" + n.x.String()
	case kCompl:
		return "~" + n.x.String()
	case kBinary:
		return fmt.Sprintf("(%s %s %s)", n.x, opText[n.op], n.y)
	case kAnd:
		return fmt.Sprintf("(%s && %s)", n.x, n.y)
	case kOr:
		return fmt.Sprintf("(%s || %s)", n.x, n.y)
	case kMatch:
		return n.matchString()
	}
	return kindText[n.kind]
}

func (n *node) matchString() string {
	if n.n == prefix {
		return fmt.Sprintf("(%s =~ %s)", n.x, expr.Quote(n.text+"*"))
	}
	return fmt.Sprintf("(%s == %s)", n.x, expr.Quote(n.text))
}

// Kinds of string matches, in node.n.
const (
	whole = iota
	prefix
)
