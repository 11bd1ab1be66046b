// Package toy runs handlers in tests with made-up hits: registers, memory, time
// and threads are what the test says. It is written to be obviously right, not to
// be fast or safe, and checks every access; maps are Go maps.
//
// It is imported by tests only.
package toy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Hit is what a program can see of a hit.
type Hit struct {
	Ctx             []byte
	Time            uint64
	PIDTGID, UIDGID uint64
	CPU             int
	Cookie, FuncIP  uint64
	Comm            [16]byte
	Mem             map[uint64]byte // the tracee's
	Stack           []uint64
}

// CPUs is how many there are.
const CPUs = 4

// Machine has the maps of a handler.
type Machine struct {
	specs []program.Map
	maps  []*table
}

// table is a map, or a ring.
type table struct {
	spec    program.Map
	keys    []string // in order of their coming
	values  map[string][][]byte
	records [][]byte
}

// New makes empty maps.
func New(specs []program.Map) *Machine {
	m := &Machine{specs: specs}
	for _, s := range specs {
		t := &table{spec: s, values: map[string][][]byte{}}
		if s.Type == program.Array || s.Type == program.PerCPUArray {
			for i := range s.MaxEntries {
				t.insert(string(binary.LittleEndian.AppendUint32(nil, i)))
			}
		}
		m.maps = append(m.maps, t)
	}
	return m
}

func (t *table) insert(key string) [][]byte {
	n := 1
	if t.spec.Type.PerCPU() {
		n = CPUs
	}
	var values [][]byte
	for range n {
		values = append(values, make([]byte, t.spec.ValueSize))
	}
	t.keys, t.values[key] = append(t.keys, key), values
	return values
}

// Entries gives a map's entries by name.
func (m *Machine) Entries(name string) iter.Seq2[[]byte, [][]byte] {
	return func(yield func([]byte, [][]byte) bool) {
		for _, t := range m.maps {
			for _, k := range t.keys {
				if t.spec.Name == name && !yield([]byte(k), t.values[k]) {
					return
				}
			}
		}
	}
}

// Records takes what was written to a ring.
func (m *Machine) Records(name string) (out [][]byte) {
	for _, t := range m.maps {
		if t.spec.Name == name {
			out, t.records = append(out, t.records...), nil
		}
	}
	return out
}

// MaxSteps is how many instructions a run may take.
const MaxSteps = 1 << 16

// run is one run of a program.
type run struct {
	*Machine
	p     *program.Program
	hit   *Hit
	regs  [program.NumRegs]uint64
	mem   [][]byte // own memory, by number
	rings map[uint64]*table
	Steps int
}

// Pointers are the number of the memory and an offset into it; maps are numbers.
const (
	tag    = 1 << 60
	mapTag = 1 << 59
)

func (r *run) point(b []byte) uint64 {
	r.mem = append(r.mem, b)
	return tag | uint64(len(r.mem)-1)<<32 | 1<<30
}

// bytes is the memory at a pointer.
func (r *run) bytes(at uint64, n int) ([]byte, error) {
	i, off := int(at>>32&0xffffff), int(int32(at))-1<<30
	if at&tag == 0 || i >= len(r.mem) || off < 0 || n < 0 || off+n > len(r.mem[i]) {
		return nil, fmt.Errorf("no %d bytes at %#x", n, at)
	}
	return r.mem[i][off : off+n], nil
}

// Run runs a program and gives R0, and how many instructions that took.
func (m *Machine) Run(p *program.Program, h *Hit) (r0 uint64, steps int, err error) {
	r := &run{Machine: m, p: p, hit: h, rings: map[uint64]*table{}}
	r.regs[program.R1] = r.point(h.Ctx)
	r.regs[program.R10] = r.point(make([]byte, program.StackSize)) + program.StackSize
	for pc := 0; ; {
		if r.Steps++; r.Steps > MaxSteps || pc < 0 || pc >= len(p.Insns) {
			return 0, r.Steps, errors.New("left the program, or too many steps")
		}
		in := p.Insns[pc]
		if in.IsExit() {
			if len(r.rings) > 0 {
				return 0, r.Steps, errors.New("ends with a reserved record")
			}
			return r.regs[0], r.Steps, nil
		}
		next, err := r.step(pc, in)
		if err != nil {
			return 0, r.Steps, fmt.Errorf("%d: %v: %w", pc, in, err)
		}
		pc = next
	}
}

func (r *run) step(pc int, in program.Insn) (next int, err error) {
	next = pc + 1
	switch class := in.Class(); {
	case in.Wide():
		v := uint64(uint32(in.Imm)) | uint64(uint32(r.p.Insns[pc+1].Imm))<<32
		if in.Src == program.PseudoMap {
			v |= mapTag
		}
		r.regs[in.Dst] = v
		next++
	case in.IsCall() && in.Src == program.CallHelper:
		err = r.call(in.Imm)
	case class == program.ClassAlu || class == program.ClassAlu64:
		r.regs[in.Dst], err = r.alu(in)
	case in.IsJump():
		if r.jumps(in) {
			next = in.Target(pc)
		}
	case class == program.ClassLdx || class == program.ClassSt || class == program.ClassStx:
		err = r.access(in)
	default:
		err = errors.New("not known")
	}
	return next, err
}

// second is an instruction's second operand.
func (r *run) second(in program.Insn) uint64 {
	if in.Op&program.SrcMask == program.SrcX {
		return r.regs[in.Src]
	}
	return uint64(int64(in.Imm))
}

func (r *run) alu(in program.Insn) (uint64, error) {
	x, y, op := r.regs[in.Dst], r.second(in), in.Op&program.OpMask
	if in.Class() == program.ClassAlu {
		if op != program.AluMov {
			return 0, errors.New("32 bits")
		}
		return uint64(uint32(y)), nil
	}
	if (op == program.AluDiv || op == program.AluMod) && y != 0 {
		quo, rem := x/y, x%y
		if in.Off == 1 {
			quo, rem = uint64(int64(x)/int64(y)), uint64(int64(x)%int64(y))
		}
		if op == program.AluDiv {
			return quo, nil
		}
		return rem, nil
	}
	ops := map[uint8]uint64{
		program.AluAdd: x + y, program.AluSub: x - y, program.AluMul: x * y, program.AluOr: x | y,
		program.AluAnd: x & y, program.AluXor: x ^ y, program.AluMov: y, program.AluNeg: -x,
		program.AluLsh: x << (y & 63), program.AluRsh: x >> (y & 63), program.AluArsh: uint64(int64(x) >> (y & 63)),
		program.AluDiv: 0, program.AluMod: x,
	}
	v, ok := ops[op]
	if !ok {
		return 0, errors.New("not known")
	}
	return v, nil
}

func (r *run) jumps(in program.Insn) bool {
	x, y := r.regs[in.Dst], r.second(in)
	if in.Class() == program.ClassJmp32 {
		panic("toy: 32-bit jump")
	}
	a, b := int64(x), int64(y)
	return map[uint8]bool{
		program.JmpA: true, program.JmpEq: x == y, program.JmpNe: x != y, program.JmpSet: x&y != 0,
		program.JmpGt: x > y, program.JmpGe: x >= y, program.JmpLt: x < y, program.JmpLe: x <= y,
		program.JmpSgt: a > b, program.JmpSge: a >= b, program.JmpSlt: a < b, program.JmpSle: a <= b,
	}[in.Op&program.OpMask]
}

// access is a load, store or atomic.
func (r *run) access(in program.Insn) error {
	base := in.Dst
	if in.Class() == program.ClassLdx {
		base = in.Src
	}
	b, err := r.bytes(r.regs[base]+uint64(int64(in.Off)), in.Size())
	if err != nil {
		return err
	}
	var w [8]byte
	copy(w[:], b)
	old := binary.LittleEndian.Uint64(w[:])
	switch {
	case in.Class() == program.ClassLdx:
		r.regs[in.Dst] = old
		return nil
	case in.Op&program.ModeMask == program.ModeAtomic:
		return r.atomic(in, b, old)
	}
	v := uint64(int64(in.Imm))
	if in.Class() == program.ClassStx {
		v = r.regs[in.Src]
	}
	copy(b, binary.LittleEndian.AppendUint64(nil, v))
	return nil
}

func (r *run) atomic(in program.Insn, b []byte, old uint64) error {
	if in.Size() != 8 {
		return errors.New("not known")
	}
	v := r.regs[in.Src]
	switch in.Imm {
	case program.AluAdd:
		v += old
	case program.AluAdd | program.AtomicFetch:
		v += old
		r.regs[in.Src] = old
	case program.AtomicCmpXchg:
		if r.regs[0] != old {
			v = old
		}
		r.regs[0] = old
	default:
		return errors.New("not known")
	}
	binary.LittleEndian.PutUint64(b, v)
	return nil
}

// errno is a helper's result for an error.
func errno(n int) uint64 { return uint64(int64(-n)) }

// table is the map in a register.
func (r *run) table(v uint64) (*table, error) {
	if i := v &^ mapTag; v&mapTag != 0 && i < uint64(len(r.maps)) {
		return r.maps[i], nil
	}
	return nil, fmt.Errorf("%#x is no map", v)
}

func (r *run) call(helper int32) (err error) {
	a := r.regs
	h := r.hit
	var v uint64
	switch helper {
	case program.FnKtimeGetNS:
		v = h.Time
	case program.FnCurrentPIDTGID:
		v = h.PIDTGID
	case program.FnCurrentUIDGID:
		v = h.UIDGID
	case program.FnSMPProcessorID:
		v = uint64(h.CPU)
	case program.FnGetAttachCookie:
		v = h.Cookie
	case program.FnGetFuncIP:
		v = h.FuncIP
	case program.FnCurrentComm:
		var b []byte
		if b, err = r.bytes(a[1], int(a[2])); err == nil {
			clear(b)
			copy(b[:len(b)-1], h.Comm[:])
		}
	case program.FnProbeReadUser, program.FnProbeReadUserStr:
		v, err = r.read(helper, a[1], a[2], a[3])
	default:
		v, err = r.callMap(helper, a)
	}
	for i := 1; i <= 5; i++ {
		r.regs[i] = 0xdead_dead_dead_dead
	}
	r.regs[0] = v
	return err
}

func (r *run) read(helper int32, to, size, from uint64) (uint64, error) {
	b, err := r.bytes(to, int(size))
	if err != nil {
		return 0, err
	}
	for i := range b {
		c, ok := r.hit.Mem[from+uint64(i)]
		if !ok {
			clear(b)
			return errno(14), nil
		}
		b[i] = c
		if helper != program.FnProbeReadUserStr {
			continue
		}
		if c == 0 {
			return uint64(i + 1), nil
		}
		if i == len(b)-1 {
			b[i] = 0
			return uint64(len(b)), nil
		}
	}
	return 0, nil
}

// callMap runs a helper that has to do with maps.
func (r *run) callMap(helper int32, a [program.NumRegs]uint64) (uint64, error) {
	switch helper {
	case program.FnRingbufSubmit, program.FnRingbufDiscard:
		t := r.rings[a[1]]
		if t == nil {
			return 0, errors.New("no record")
		}
		delete(r.rings, a[1])
		b, err := r.bytes(a[1], 0)
		if helper == program.FnRingbufSubmit {
			t.records = append(t.records, b[:cap(b)])
		}
		return 0, err
	case program.FnGetStackID:
		return r.stackID(a)
	}
	t, err := r.table(a[1])
	if err != nil {
		return 0, err
	}
	if helper == program.FnRingbufReserve {
		if len(t.records) >= 8 {
			return 0, nil
		}
		p := r.point(slices.Repeat([]byte{0xcc}, int(a[2])))
		r.rings[p] = t
		return p, nil
	}
	key, err := r.bytes(a[2], int(t.spec.KeySize))
	if err != nil {
		return 0, err
	}
	values := t.values[string(key)]
	switch helper {
	case program.FnMapLookup:
		if values == nil {
			return 0, nil
		}
		return r.point(values[r.hit.CPU%len(values)]), nil
	case program.FnMapUpdate:
		v, err := r.bytes(a[3], int(t.spec.ValueSize))
		if err != nil {
			return 0, err
		}
		if values == nil && len(t.keys) >= int(t.spec.MaxEntries) {
			return errno(7), nil
		}
		if values == nil {
			values = t.insert(string(key))
		} else if a[4] == 1 {
			return errno(17), nil
		}
		copy(values[r.hit.CPU%len(values)], v)
		return 0, nil
	}
	return 0, errors.New("not known")
}

func (r *run) stackID(a [program.NumRegs]uint64) (uint64, error) {
	t, err := r.table(a[2])
	if err != nil {
		return 0, err
	}
	if len(r.hit.Stack) == 0 {
		return errno(14), nil
	}
	value := make([]byte, t.spec.ValueSize)
	for i, v := range r.hit.Stack {
		binary.LittleEndian.PutUint64(value[8*i:], v)
	}
	for i, k := range t.keys {
		if slices.Equal(t.values[k][0], value) {
			return uint64(i), nil
		}
	}
	if len(t.keys) >= int(t.spec.MaxEntries) {
		return errno(12), nil
	}
	key := string(binary.LittleEndian.AppendUint32(nil, uint32(len(t.keys))))
	copy(t.insert(key)[0], value)
	return uint64(len(t.keys) - 1), nil
}
