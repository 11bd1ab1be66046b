package filter

// fold computes constants, and removes what a constant decides.
func fold(n *node) *node {
	if n == nil {
		return nil
	}
	c := *n
	c.x, c.y = fold(n.x), fold(n.y)
	switch c.kind {
	case kNot, kNeg, kCompl, kCast:
		if c.x.kind == kConst {
			return constant(&c, unary(&c, c.x.value))
		}
	case kBinary:
		if c.x.kind == kConst && c.y.kind == kConst {
			return constant(&c, arith(&c, c.x.value, c.y.value))
		}
		return mirror(&c)
	case kAnd, kOr:
		return foldLogic(&c)
	}
	return &c
}

func constant(n *node, v uint64) *node {
	return &node{kind: kConst, pos: n.pos, unsigned: n.unsigned, value: v}
}

// foldLogic simplifies && and || with one constant side. The program does not read memory for a
// side that is removed.
func foldLogic(n *node) *node {
	x, y := n.x, n.y
	if y.kind == kConst {
		x, y = y, x
	}
	if x.kind != kConst {
		return n
	}
	if (x.value != 0) == (n.kind == kOr) {
		return constant(n, truth(x.value != 0))
	}
	return boolean(y)
}

// boolean returns n as 1 or 0.
func boolean(n *node) *node {
	switch {
	case n.kind == kConst:
		return constant(&node{pos: n.pos}, truth(n.value != 0))
	case n.isBool():
		return n
	}
	return &node{kind: kBinary, op: opNe, pos: n.pos, x: n, y: &node{kind: kConst, pos: n.pos}}
}

// mirrored are the operators for exchanged sides.
var mirrored = map[op]op{
	opAdd: opAdd, opMul: opMul, opAnd: opAnd, opOr: opOr, opXor: opXor, opEq: opEq, opNe: opNe,
	opLt: opGt, opGt: opLt, opLe: opGe, opGe: opLe,
}

// mirror moves a constant to the right side, where it fits into an instruction.
func mirror(n *node) *node {
	if o, ok := mirrored[n.op]; ok && n.x.kind == kConst {
		n.op, n.x, n.y = o, n.y, n.x
	}
	return n
}
