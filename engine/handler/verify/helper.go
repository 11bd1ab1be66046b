package verify

import (
	"bytes"
	"slices"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// call is a helper call on one path.
type call struct {
	*checker
	s      *state
	h      *program.Helper
	m      *program.Map // ArgMap
	index  int          // its index
	record uint32       // the record that the call ends
	size   int64        // ArgConst, or the largest value that a size can have
	out    *access      // memory that it writes
}

// argChecks check arguments by kind; memory is checked together with its size.
var argChecks = [...]func(k *call, r uint8) error{
	program.ArgAny:      (*call).any,
	program.ArgCtx:      (*call).context,
	program.ArgMap:      (*call).theMap,
	program.ArgKey:      func(k *call, r uint8) error { return k.memory(r, int(k.m.KeySize)) },
	program.ArgValue:    func(k *call, r uint8) error { return k.memory(r, int(k.m.ValueSize)) },
	program.ArgMem:      (*call).later,
	program.ArgMemOut:   (*call).later,
	program.ArgMemNull:  (*call).later,
	program.ArgSize:     (*call).sized,
	program.ArgSize0:    (*call).sized,
	program.ArgAddr:     (*call).any,
	program.ArgFlags:    (*call).flags,
	program.ArgRecord:   (*call).ends,
	program.ArgConst:    (*call).constant,
	program.ArgString:   (*call).text,
	program.ArgFunc:     (*call).function,
	program.ArgStackPtr: (*call).passed,
}

// stepHelper follows a helper call.
func (c *checker) stepHelper(s *state, h *program.Helper) error {
	k := call{checker: c, s: s, h: h}
	if err := k.args(); err != nil {
		return err
	}
	if k.out != nil {
		if v := s.reg(k.out.reg); v.kind == pointsStack {
			s.frames[v.frame].fill(int(v.smin), k.out.n)
		}
	}
	if k.record != 0 {
		s.release(k.record)
		s.eachValue(func(v *value) {
			if (v.kind == pointsRecord || v.kind == maybeRecord) && v.id == k.record {
				*v = value{}
			}
		})
	}
	s.top().forget()
	*s.reg(program.R0) = k.result()
	return nil
}

// args checks rights and arguments.
func (k *call) args() error {
	if missing := k.h.Needs &^ k.o.Rights; missing != 0 {
		return k.refuse(k.s, ErrRights, -1, "the right to %s", rightText(missing))
	}
	k.checker.result.Needs |= k.h.Needs
	for n, kind := range k.h.Args {
		r := uint8(program.R1 + n)
		if k.s.reg(r).kind == unset && k.h.Num == program.FnTracePrintk && kind == program.ArgAny {
			continue // the kernel refuses what the portable form does not need
		}
		if err := k.readable(k.s, r); err != nil {
			return err
		}
		if err := argChecks[kind](k, r); err != nil {
			return err
		}
	}
	if k.m != nil {
		k.noteMap()
	}
	return nil
}

func rightText(r program.Rights) string {
	switch {
	case r&program.ReadMemory != 0:
		return "read memory"
	case r&program.WriteMemory != 0:
		return "write memory"
	}
	return "override arguments and return values"
}

func (k *call) noteMap() {
	fact := &k.checker.result.Facts[k.s.pc]
	if k.called[k.s.pc] && fact.Map != k.index {
		fact.Map = -1
		return
	}
	k.called[k.s.pc] = true
	fact.Map = k.index
}

func (k *call) result() value {
	switch k.h.Result {
	case program.ResultValue:
		return value{kind: maybeValue, scalar: constant(0), index: int32(k.index), id: k.newID()}
	case program.ResultRecord:
		id := k.newID()
		k.s.refs = append(k.s.refs, id)
		return value{kind: maybeRecord, scalar: constant(0), size: int32(k.size), id: id}
	case program.ResultNone:
		return value{}
	}
	switch k.h.Num {
	case program.FnProbeReadUserStr, program.FnGetStack:
		return num(between(-4095, k.size)) // an error, or the number of bytes read
	}
	return num(anything)
}

func (k *call) no(r uint8, needed string, args ...any) error {
	return k.refuse(k.s, ErrUnsafe, int(r), needed, args...)
}

func (k *call) any(r uint8) error {
	return k.isNumber(k.s, r, "a number")
}

func (k *call) context(r uint8) error {
	if v := k.s.reg(r); v.kind != pointsCtx || v.umin != 0 {
		return k.no(r, "the context")
	}
	return nil
}

func (k *call) theMap(r uint8) error {
	v := k.s.reg(r)
	if v.kind != handle {
		return k.no(r, "a map")
	}
	k.index, k.m = int(v.index), &k.p.Maps[v.index]
	if k.h.Maps != nil && !slices.Contains(k.h.Maps, k.m.Type) {
		return k.no(r, "a map of another type: %s takes no %s", k.h.Name, k.m.Type)
	}
	if k.m.ReadOnly && (k.h.Num == program.FnMapUpdate || k.h.Num == program.FnMapDelete) {
		return k.no(r, "a map that is not read-only")
	}
	return nil
}

func (k *call) later(uint8) error { return nil }

// sized checks a size, and the memory before it.
func (k *call) sized(r uint8) error {
	v := k.s.reg(r)
	kind, mem := k.h.Args[r-program.R1], r-1
	switch {
	case v.kind != number || v.smin < 0 || v.umax > farOff:
		return k.no(r, "a size, a number from 0 to %d", farOff)
	case kind == program.ArgSize && v.umin == 0:
		return k.no(r, "a size above 0")
	}
	k.size = int64(v.umax)
	what := k.h.Args[mem-program.R1]
	if p := k.s.reg(mem); what == program.ArgMemNull && p.kind == number && p.isConst() && p.umin == 0 {
		if v.umax == 0 {
			return nil
		}
		return k.no(r, "size 0 with no memory")
	}
	if what != program.ArgMemOut {
		return k.memory(mem, int(v.umax))
	}
	a := access{reg: mem, n: int(v.umax), write: true, helper: true}
	if k.s.reg(mem).kind == pointsStack && !v.isConst() {
		a.write = false // bytes that are not overwritten stay
	}
	k.out = &access{reg: mem, n: a.n}
	return k.allowed(k.s, a)
}

// memory checks n bytes that the helper reads.
func (k *call) memory(r uint8, n int) error {
	if err := k.allowed(k.s, access{reg: r, n: n, helper: true}); err != nil {
		return err
	}
	if v := k.s.reg(r); v.kind == pointsStack && !k.s.frames[v.frame].plain(int(v.smin), n) {
		return k.no(r, "%d bytes without an address in them: it would leak", n)
	}
	return nil
}

func (k *call) flags(r uint8) error {
	if err := k.isNumber(k.s, r, "flags, a number"); err != nil {
		return err
	}
	if wrong := k.s.reg(r).bits.value &^ k.h.Flags; wrong != 0 {
		return k.no(r, "flags that %s has: %#x are none", k.h.Name, wrong)
	}
	return nil
}

func (k *call) ends(r uint8) error {
	v := k.s.reg(r)
	if v.kind != pointsRecord || !v.isConst() || v.umin != 0 {
		return k.no(r, "the start of a record that was reserved, tested for null")
	}
	k.record = v.id
	return nil
}

func (k *call) constant(r uint8) error {
	v := k.s.reg(r)
	if v.kind != number || !v.isConst() || v.umin == 0 || v.umin > farOff {
		return k.no(r, "a constant from 1 to %d", farOff)
	}
	k.size = int64(v.umin)
	return nil
}

// text returns a constant string of the program's.
func (k *call) text(r uint8) error {
	v := k.s.reg(r)
	if v.kind != pointsValue || !v.isConst() || !k.p.Maps[v.index].ReadOnly {
		return k.no(r, "a constant string, in a read-only map")
	}
	m, off := &k.p.Maps[v.index], int(v.smin)
	if len(m.Contents) != 1 || off < 0 || off >= len(m.Contents[0].Value) || bytes.IndexByte(m.Contents[0].Value[off:], 0) < 0 {
		return k.no(r, "a string with a 0 at its end")
	}
	return nil
}

func (k *call) function(r uint8) error {
	if k.s.reg(r).kind != function {
		return k.no(r, "a function of the program")
	}
	return nil
}

func (k *call) passed(r uint8) error {
	v := k.s.reg(r)
	if v.kind != pointsStack && (v.kind != number || !v.isConst() || v.umin != 0) {
		return k.no(r, "an address of the stack, or 0")
	}
	return nil
}
