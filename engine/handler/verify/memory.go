package verify

import (
	"github.com/ptracer/ptracer/engine/handler/program"
)

// access is an access of an instruction or a helper to the program's memory: n bytes at a register
// plus off.
type access struct {
	reg    uint8
	off, n int
	write  bool
	atomic bool
	helper bool // a helper needs no alignment
}

// reach returns the offsets that an access may begin at.
func (a *access) reach(v *value) scalar { return add(v.scalar, constant(uint64(a.off))) }

// allowed refuses an access that may be out of bounds, or to memory that can't be accessed at all.
func (c *checker) allowed(s *state, a access) error {
	v := s.reg(a.reg)
	at := a.reach(v)
	switch v.kind {
	case pointsCtx:
		return c.allowedCtx(s, a, at)
	case pointsStack:
		return c.allowedStack(s, a, at)
	case pointsValue:
		m := &c.p.Maps[v.index]
		if a.write && m.ReadOnly {
			return c.refuse(s, ErrUnsafe, int(a.reg), "a map that is not read-only")
		}
		return c.within(s, a, at, int(m.ValueSize))
	case pointsRecord:
		return c.within(s, a, at, int(v.size))
	case maybeValue, maybeRecord:
		return c.refuse(s, ErrUnsafe, int(a.reg), "a test for null before the access")
	}
	return c.refuse(s, ErrUnsafe, int(a.reg), "an address of stack, context, map value or record; other memory is read by probe_read_user")
}

func (c *checker) within(s *state, a access, at scalar, size int) error {
	if at.smin < 0 || at.smax+int64(a.n) > int64(size) {
		return c.refuse(s, ErrUnsafe, int(a.reg), "%d bytes at offset %s to be within its %d bytes", a.n, at.String(), size)
	}
	if a.atomic && (at.bits.value|at.bits.mask)&uint64(a.n-1) != 0 {
		return c.refuse(s, ErrUnsafe, int(a.reg), "an offset that is a multiple of %d: it is %s", a.n, at.String())
	}
	return nil
}

func (c *checker) allowedCtx(s *state, a access, at scalar) error {
	off := int(at.smin)
	switch {
	case a.helper, a.atomic:
		return c.refuse(s, ErrUnsafe, int(a.reg), "an address of stack, map value or record")
	case off < 0 || off+a.n > c.o.Context.Size:
		return c.refuse(s, ErrUnsafe, int(a.reg), "%d bytes at offset %d to be within its %d bytes", a.n, off, c.o.Context.Size)
	case off%a.n != 0:
		return c.refuse(s, ErrUnsafe, int(a.reg), "an offset that is a multiple of %d: it is %d", a.n, off)
	case a.write && c.o.Rights&program.Override == 0:
		return c.refuse(s, ErrRights, int(a.reg), "the right to override arguments and return values, to write here")
	}
	if a.write {
		c.result.Needs |= program.Override
	}
	return nil
}

func (c *checker) allowedStack(s *state, a access, at scalar) error {
	off := int(at.smin)
	switch {
	case off < -program.StackSize || off+a.n > 0:
		return c.refuse(s, ErrUnsafe, int(a.reg), "%d bytes at offset %d to be within the %d below the frame's end", a.n, off, program.StackSize)
	case !a.helper && off&(a.n-1) != 0:
		return c.refuse(s, ErrUnsafe, int(a.reg), "an offset that is a multiple of %d: it is %d", a.n, off)
	}
	f := s.frames[s.reg(a.reg).frame]
	c.result.Stack[f.fn] = max(c.result.Stack[f.fn], (-off+7)&^7)
	if !a.write || a.atomic {
		if !f.written(off, a.n) {
			return c.refuse(s, ErrUnsafe, int(a.reg), "%d bytes at offset %d that were all written before", a.n, off)
		}
	}
	return nil
}

// note combines an instruction's access on this path with its accesses on other paths.
func (c *checker) note(s *state, a access) {
	v := s.reg(a.reg)
	at := a.reach(v)
	fact := &c.result.Facts[s.pc]
	now := Fact{Reached: true, Region: v.region(), Fixed: at.isConst(), Map: -1}
	if now.Fixed {
		now.Off = int(at.smin)
	}
	switch v.kind {
	case pointsValue:
		now.Map = int(v.index)
	case pointsStack:
		if int(v.frame) != len(s.frames)-1 { // it is a caller's
			now.Fixed, now.Off = false, 0
		}
	}
	if fact.Region != None {
		now.merge(fact)
	}
	*fact = now
}

func (f *Fact) merge(other *Fact) {
	if f.Region != other.Region {
		f.Region, f.Fixed = Mixed, false
	}
	if f.Map != other.Map {
		f.Map, f.Fixed = -1, false
	}
	if f.Off != other.Off || !other.Fixed {
		f.Fixed = false
	}
	if !f.Fixed {
		f.Off = 0
	}
}

func (c *checker) stepLoad(s *state, in program.Insn) error {
	a := access{reg: in.Src, off: int(in.Off), n: in.Size()}
	return c.load(s, in, a)
}

func (c *checker) load(s *state, in program.Insn, a access) error {
	if err := c.allowed(s, a); err != nil {
		return err
	}
	c.note(s, a)
	v, err := c.loaded(s, a)
	if err != nil {
		return err
	}
	if in.Op&program.ModeMask == program.ModeMemSX {
		if v.isPointer() {
			return c.refuse(s, ErrUnsafe, int(a.reg), "a number there, no address")
		}
		n := v.signed(uint(8 * a.n))
		v = num(n)
	}
	*s.reg(in.Dst) = v
	return nil
}

// loaded returns the value of a permitted access.
func (c *checker) loaded(s *state, a access) (value, error) {
	p := s.reg(a.reg)
	at := a.reach(p)
	switch p.kind {
	case pointsStack:
		f := s.frames[p.frame]
		v, ok := f.load(int(at.smin), a.n)
		if !ok {
			return v, c.refuse(s, ErrUnsafe, int(a.reg), "a number there; only whole addresses can be loaded")
		}
		if v.kind == number && !v.isConst() {
			slot, _ := f.slot(int(at.smin))
			if v.id == 0 && slot.n != 0 && int(slot.n) == a.n {
				v.id = c.newID()
				slot.val.id = v.id
			}
		}
		return v, nil
	case pointsValue:
		if n, ok := c.fromConst(int(p.index), at, a.n); ok {
			return num(constant(n)), nil
		}
	}
	if a.n == 8 {
		return num(anything), nil
	}
	return num(upTo(0, 1<<(8*a.n)-1)), nil
}

// fromConst returns the number in a read-only map, if it is known.
func (c *checker) fromConst(index int, at scalar, n int) (v uint64, ok bool) {
	m := &c.p.Maps[index]
	if !m.ReadOnly || m.MaxEntries != 1 || len(m.Contents) != 1 || !at.isConst() {
		return 0, false
	}
	bytes := m.Contents[0].Value
	off := int(at.smin)
	if off < 0 || off+n > len(bytes) {
		return 0, false
	}
	for k := n - 1; k >= 0; k-- {
		v = v<<8 | uint64(bytes[off+k])
	}
	return v, true
}

func (c *checker) stepStore(s *state, in program.Insn) error {
	v := num(constant(uint64(int64(in.Imm))))
	if in.Class() == program.ClassStx {
		if err := c.readable(s, in.Src); err != nil {
			return err
		}
		v = *s.reg(in.Src)
	}
	return c.store(s, access{reg: in.Dst, off: int(in.Off), n: in.Size(), write: true}, in, v)
}

func (c *checker) store(s *state, a access, in program.Insn, v value) error {
	if err := c.allowed(s, a); err != nil {
		return err
	}
	c.note(s, a)
	p := s.reg(a.reg)
	at := a.reach(p)
	switch {
	case p.kind != pointsStack && v.isPointer():
		return c.refuse(s, ErrUnsafe, int(in.Src), "a number: addresses are stored to the stack only")
	case p.kind != pointsStack:
		return nil
	case v.isPointer() && a.n != 8:
		return c.refuse(s, ErrUnsafe, int(in.Src), "a number: addresses are stored whole")
	case v.kind == pointsStack && v.frame > p.frame:
		return c.refuse(s, ErrUnsafe, int(in.Src), "an address that outlives this function")
	}
	s.frames[p.frame].store(int(at.smin), a.n, v)
	return nil
}

func (c *checker) stepAtomic(s *state, in program.Insn) error {
	a := access{reg: in.Dst, off: int(in.Off), n: in.Size(), write: true, atomic: true}
	switch in.Imm {
	case program.AtomicLoad:
		a.reg, a.write = in.Src, false
		return c.load(s, in, a)
	case program.AtomicStore:
		if err := c.isNumber(s, in.Src, "a number"); err != nil {
			return err
		}
		a.atomic = false // the old contents do not matter
		if err := c.aligned(s, a); err != nil {
			return err
		}
		return c.store(s, a, in, *s.reg(in.Src))
	}
	if err := c.isNumber(s, in.Src, "a number"); err != nil {
		return err
	}
	if in.Imm == program.AtomicCmpXchg {
		if err := c.isNumber(s, program.R0, "a number"); err != nil {
			return err
		}
	}
	if err := c.allowed(s, a); err != nil {
		return err
	}
	c.note(s, a)
	old, err := c.loaded(s, a)
	if err != nil {
		return err
	}
	if old.isPointer() {
		return c.refuse(s, ErrUnsafe, int(in.Dst), "a number there, no address")
	}
	c.atomicResult(s, in, a)
	return nil
}

// atomicResult forgets what an atomic operation may have changed.
func (c *checker) atomicResult(s *state, in program.Insn, a access) {
	if p := s.reg(a.reg); p.kind == pointsStack {
		at := a.reach(p)
		s.frames[p.frame].fill(int(at.smin), a.n)
	}
	was := num(anything.low(uint(8 * a.n)))
	switch {
	case in.Imm == program.AtomicCmpXchg:
		*s.reg(program.R0) = was
	case in.Imm&program.AtomicFetch != 0:
		*s.reg(in.Src) = was
	}
}

// aligned refuses an address that is not a multiple of the access's size.
func (c *checker) aligned(s *state, a access) error {
	at := a.reach(s.reg(a.reg))
	if s.reg(a.reg).isPointer() && (at.bits.value|at.bits.mask)&uint64(a.n-1) != 0 {
		return c.refuse(s, ErrUnsafe, int(a.reg), "an offset that is a multiple of %d: it is %s", a.n, at.String())
	}
	return nil
}
