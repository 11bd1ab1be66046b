package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/ptracer/ptracer/arch"
)

// ErrFault is wrapped by errors of Eval for memory that could not be read, or for an argument or
// register that the machine does not have.
var ErrFault = errors.New("no value")

// Env is the hit that an expression is evaluated for.
type Env interface {
	Arg(i int) (value uint64, ok bool)
	Ret(word int) uint64
	Register(name string) (value uint64, ok bool)
	// Read reads memory, whole or not at all.
	Read(at arch.Addr, b []byte) error
	PIDTGID() uint64 // process in the upper half
	UIDGID() uint64  // group in the upper half
	CPU() int
	Time() uint64 // monotonic nanoseconds
	Cookie() uint64
	FuncIP() uint64
	Comm() [16]byte
}

// Eval computes the expression without compiling it.
func (e *Expr) Eval(env Env) (uint64, error) { return eval(e.root, env) }

// Match reports whether the condition holds; it does not hold if memory can't be read.
func (e *Expr) Match(env Env) bool {
	v, err := e.Eval(env)
	return err == nil && v != 0
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func eval(n *node, env Env) (uint64, error) {
	switch n.kind {
	case kConst:
		return n.value, nil
	case kNot, kNeg, kCompl, kCast:
		x, err := eval(n.x, env)
		return unary(n, x), err
	case kBinary:
		x, err := eval(n.x, env)
		if err != nil {
			return 0, err
		}
		y, err := eval(n.y, env)
		return arith(n, x, y), err
	case kAnd, kOr:
		x, err := eval(n.x, env)
		if err != nil || (x != 0) == (n.kind == kOr) {
			return truth(x != 0), err
		}
		y, err := eval(n.y, env)
		return truth(y != 0), err
	case kMatch:
		return evalMatch(n, env)
	case kLoad:
		return evalLoad(n, env)
	}
	return evalLeaf(n, env)
}

func evalLeaf(n *node, env Env) (uint64, error) {
	var v uint64
	ok := true
	switch n.kind {
	case kArg:
		v, ok = env.Arg(n.n)
	case kReg:
		v, ok = env.Register(n.text)
	case kRet:
		v = env.Ret(n.n)
	case kPID:
		v = env.PIDTGID() >> 32
	case kTID:
		v = env.PIDTGID() & 0xffffffff
	case kUID:
		v = env.UIDGID() & 0xffffffff
	case kGID:
		v = env.UIDGID() >> 32
	case kCPU:
		v = uint64(env.CPU())
	case kTime:
		v = env.Time()
	case kCookie:
		v = env.Cookie()
	case kIP:
		v = env.FuncIP()
	default:
		ok = false
	}
	if !ok {
		return 0, fmt.Errorf("%w: %v", ErrFault, n)
	}
	return v, nil
}

func unary(n *node, x uint64) uint64 {
	switch n.kind {
	case kNot:
		return truth(x == 0)
	case kNeg:
		return -x
	case kCompl:
		return ^x
	}
	shift := uint(64 - 8*n.n)
	if n.signed {
		return uint64(int64(x<<shift) >> shift)
	}
	return x << shift >> shift
}

// arith computes x op y with eBPF's semantics.
func arith(n *node, x, y uint64) uint64 {
	switch n.op {
	case opAdd:
		return x + y
	case opSub:
		return x - y
	case opMul:
		return x * y
	case opOr:
		return x | y
	case opXor:
		return x ^ y
	case opAnd:
		return x & y
	case opAndNot:
		return x &^ y
	case opShl:
		return x << (y & 63)
	case opShr:
		if n.unsigned {
			return x >> (y & 63)
		}
		return uint64(int64(x) >> (y & 63))
	case opDiv, opMod:
		return divide(n, x, y)
	}
	return truth(compare(n, x, y))
}

func divide(n *node, x, y uint64) uint64 {
	var quo, rem uint64
	switch {
	case y == 0:
		quo, rem = 0, x
	case n.unsigned:
		quo, rem = x/y, x%y
	default: // Go's result for the smallest number / -1 is eBPF's
		quo, rem = uint64(int64(x)/int64(y)), uint64(int64(x)%int64(y))
	}
	if n.op == opDiv {
		return quo
	}
	return rem
}

// compares are the results of comparisons if x is less, equal or greater.
var compares = map[op][3]bool{
	opEq: {false, true, false}, opNe: {true, false, true}, opLt: {true, false, false},
	opLe: {true, true, false}, opGt: {false, false, true}, opGe: {false, true, true},
}

func compare(n *node, x, y uint64) bool {
	less := int64(x) < int64(y)
	if n.x.unsigned || n.y.unsigned {
		less = x < y
	}
	switch c := compares[n.op]; {
	case x == y:
		return c[1]
	case less:
		return c[0]
	default:
		return c[2]
	}
}

func evalLoad(n *node, env Env) (uint64, error) {
	at, err := eval(n.x, env)
	if err != nil {
		return 0, err
	}
	var b [8]byte
	if err := env.Read(arch.Addr(at), b[:n.n]); err != nil {
		return 0, fmt.Errorf("%w: %v: %w", ErrFault, n, err)
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

func evalMatch(n *node, env Env) (uint64, error) {
	var s string
	switch {
	case n.x.kind == kComm:
		comm := env.Comm()
		s, _, _ = strings.Cut(string(comm[:]), "\x00")
	case lengthOf(n.x) != nil:
		return evalSized(n, env)
	default:
		at, err := eval(n.x.x, env)
		if err != nil {
			return 0, err
		}
		if s, err = readString(env, arch.Addr(at), len(n.text)+2-n.n); err != nil {
			return 0, fmt.Errorf("%w: %v: %w", ErrFault, n.x, err)
		}
	}
	if n.n == prefix {
		return truth(strings.HasPrefix(s, n.text)), nil
	}
	return truth(s == n.text), nil
}

// evalSized compares a string that has a length. It checks the length first, and reads nothing if
// that can't match.
func evalSized(n *node, env Env) (uint64, error) {
	size, err := eval(lengthOf(n.x), env)
	if err != nil {
		return 0, err
	}
	if size < uint64(len(n.text)) || n.n == whole && size > uint64(len(n.text)) {
		return 0, nil
	}
	if n.text == "" {
		return 1, nil
	}
	at, err := eval(n.x.x, env)
	if err != nil {
		return 0, err
	}
	b := make([]byte, len(n.text))
	if err := env.Read(arch.Addr(at), b); err != nil {
		return 0, fmt.Errorf("%w: %v: %w", ErrFault, n.x, err)
	}
	return truth(string(b) == n.text), nil
}

// readString reads bytes up to a 0, at most most.
func readString(env Env, at arch.Addr, most int) (string, error) {
	var s []byte
	for len(s) < most {
		var c [1]byte
		if err := env.Read(at, c[:]); err != nil {
			return "", err
		}
		if c[0] == 0 {
			break
		}
		s = append(s, c[0])
		at++
	}
	return string(s), nil
}
