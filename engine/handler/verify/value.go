package verify

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// kind is the kind of a register's contents.
type kind uint8

const (
	unset kind = iota
	number
	pointsCtx
	pointsStack
	handle // a map itself
	pointsValue
	maybeValue // or 0
	pointsRecord
	maybeRecord
	function
)

// value is what is known about the contents of a register or stack slot. A pointer's scalar is its
// offset in bytes, from the start of its target or the end of the stack frame.
type value struct {
	scalar
	kind  kind
	frame int8  // of pointsStack: the frame's number, 0 is the program's own
	index int32 // of the map; of the function's first instruction
	size  int32 // of the record, in bytes
	// id is equal for equal numbers, and for pointers that are either all 0 or all not 0; for a
	// record it identifies the reservation. 0: none.
	id uint32
}

func num(s scalar) value { return value{kind: number, scalar: s} }

// isPointer reports whether the value is not a number.
func (v *value) isPointer() bool { return v.kind > number }

// fixed reports whether v is a pointer that is never 0 and may be used in arithmetic.
func (v *value) fixed() bool {
	return v.kind == pointsCtx || v.kind == pointsStack || v.kind == pointsValue || v.kind == pointsRecord
}

// region returns the kind of memory that v points into.
func (v *value) region() Region {
	switch v.kind {
	case pointsCtx:
		return Ctx
	case pointsStack:
		return Stack
	case pointsValue:
		return MapValue
	case pointsRecord:
		return Record
	}
	return None
}

// text describes the value in words.
func (v *value) text(p *program.Program) string {
	off := ""
	if !v.isConst() || v.umin != 0 {
		if off = v.scalar.String(); off[0] != '-' || !v.isConst() {
			off = "+" + off
		}
	}
	switch v.kind {
	case number:
		switch s := v.scalar.String(); s {
		case "any":
			return "any number"
		default:
			return "number " + s
		}
	case pointsCtx:
		return "context" + off
	case pointsStack:
		return "stack" + off
	case handle:
		return "map " + p.MapName(int(v.index))
	case pointsValue:
		return "value of map " + p.MapName(int(v.index)) + off
	case maybeValue:
		return "value of map " + p.MapName(int(v.index)) + off + " or null"
	case pointsRecord:
		return fmt.Sprintf("record of %d bytes%s", v.size, off)
	case maybeRecord:
		return fmt.Sprintf("record of %d bytes or null", v.size)
	case function:
		return "function " + p.Funcs[p.FuncAt(int(v.index))].Name
	}
	return "unset"
}
