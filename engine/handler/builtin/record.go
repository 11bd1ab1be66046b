package builtin

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/printable"
)

// Field is a field of a record behind its head: a number, or, with str(address) or comm, a string.
type Field struct {
	Name string // "": the expression's text
	Expr *filter.Expr
	Size int // space for a string in bytes, including its end; 0: 64
}

// RecordOptions say what Record records.
type RecordOptions struct {
	At     build.Point
	Fields []Field
	// Ring is the ring's size in bytes, a power of 2 and at least a page; 0: 1 MiB.
	Ring int
	// Calls says how to pair entry and exit, if records of the exit contain arguments.
	Calls Calls

	shown []shown // what the fields are parts of; nil: each is shown by itself
	shape uint32
	kept  int // words that are kept from the entry, with those that are not used; 0: no more than needed
}

// Layout of a record, in the ring "records". All numbers are little-endian.
//
//	 0  time, nanoseconds of the monotonic clock
//	 8  process in the upper half, thread in the lower
//	16  number that the probe was registered with (4 bytes), shape of the fields (4)
//	24  nanoseconds since the function's entry, 0: not known
//	32  size of the record (2 bytes), version (1), number of fields (1)
//	36  bit i: field i could not be read (4 bytes)
//	40  fields: a number is 8 bytes; a string is 8 bytes of length, and its
//	    bytes, with space for Size rounded up to 8. A 0 ends it, unless recSized is
//	    added to the length: then the length alone counts.
const (
	recTime    = 0
	recThread  = 8
	recCookie  = 16
	recShape   = 20
	recTook    = 24
	recInfo    = 32
	recFaults  = 36
	recFields  = 40
	recVersion = 1
	recSized   = 1 << 32

	maxFields  = 32
	maxRecord  = 1 << 15
	stringRoom = 64
	ringBytes  = 1 << 20
)

// Layout describes the records of a handler.
type Layout struct {
	At     build.Point
	Fields []Field
	offs   []int
	size   int
	shown  []shown
	shape  uint32
}

// Size is the size of a record in bytes.
func (l *Layout) Size() int { return l.size }

func newLayout(o RecordOptions) (*Layout, error) {
	at, fields := o.At, o.Fields
	if len(fields) > maxFields {
		return nil, fmt.Errorf("%w: a record has no more than %d fields", ErrParams, maxFields)
	}
	l := &Layout{At: at, Fields: slices.Clone(fields), size: recFields, shown: o.shown, shape: o.shape}
	for i := range l.Fields {
		f := &l.Fields[i]
		if f.Name == "" {
			f.Name = f.Expr.Text()
		}
		if f.Size < 0 || f.Size > maxRecord {
			return nil, fmt.Errorf("%w: %s: room for %d bytes: 1 to %d are possible", ErrParams, f.Name, f.Size, maxRecord)
		}
		l.offs = append(l.offs, l.size)
		l.size += 8
		if !f.Expr.IsString() {
			continue
		}
		switch {
		case f.Expr.IsComm():
			f.Size = 16
		case l.shown != nil:
			f.Size = l.room(i)
		case f.Size == 0:
			f.Size = stringRoom
		}
		l.size += (f.Size + 7) &^ 7
	}
	if l.size > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes is too long, %d are possible", ErrParams, l.size, maxRecord)
	}
	return l, nil
}

// Record writes a record of each hit to a ring; if the ring is full, the hit counts as not
// recorded. With At the exit, fields that use arguments are computed at the entry and kept until
// the exit. Strings are read at the exit, from the address that they had at the entry (and, in Go,
// with the length that they had there). The handler then has an entry and an exit program. Maps:
// "records", a ring buffer; "misses"; "calls" if there are two programs. Cost: a reservation in the
// ring, the clock, a store of 8 bytes per number, a copy per string.
func Record(ctx program.Context, o RecordOptions) (*build.Handler, *Layout, error) {
	l, err := newLayout(o)
	if err != nil {
		return nil, nil, err
	}
	if o.Ring == 0 {
		o.Ring = ringBytes
	}
	if o.Ring < 4096 || o.Ring&(o.Ring-1) != 0 || o.Ring > 1<<30 || l.size > o.Ring/4 {
		return nil, nil, fmt.Errorf("%w: a ring of %d bytes: a power of 2 from 4096 to 1<<30 is right, and 4 times a record", ErrParams, o.Ring)
	}
	r := recorder{Layout: l, ring: o.Ring, words: o.kept}
	kept, err := r.early()
	if err != nil {
		return nil, nil, err
	}
	var h *build.Handler
	if len(kept) > 0 || o.At == build.Exit && o.kept > 1 { // at each place of a handler alike: the maps are the same
		h, err = r.paired(ctx, o.Calls, kept)
	} else {
		h, err = r.single(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	h.Decode = func(rec []byte) (build.Result, error) { return l.Decode(rec) }
	h.Read = func(s build.Source) (build.Result, error) { return Unrecorded{readMisses(s), readUnpaired(s)}, nil }
	return h, l, nil
}

// Unrecorded is the result of record besides its records: the hits without a record.
type Unrecorded struct {
	Misses
	Unpaired
}

// Any reports whether any hit has no record.
func (u Unrecorded) Any() bool { return u != (Unrecorded{}) }

// String describes the hits without a record, "" if there are none.
func (u Unrecorded) String() string {
	parts := slices.DeleteFunc([]string{u.Misses.Missing(), u.Unpaired.text()}, func(s string) bool { return s == "" })
	return strings.Join(parts, "; ")
}

// Text writes a line about the hits without a record.
func (u Unrecorded) Text(w io.Writer, _ int) error {
	if !u.Any() {
		return nil
	}
	return printable.Write(w, u.String())
}

// MarshalJSON writes the counts of hits without a record.
func (u Unrecorded) MarshalJSON() ([]byte, error) {
	type plain Unrecorded
	return json.Marshal(plain(u))
}

// recorder builds Record's programs.
type recorder struct {
	*Layout
	ring  int
	words int // see RecordOptions.kept
}

// early returns the fields of an exit's record that are computed at the entry.
func (r recorder) early() (kept []int, err error) {
	for i, f := range r.Fields {
		if r.At == build.Entry {
			err = checkPoint(r.At, f.Expr)
		} else if f.Expr.UsesArgs() {
			kept = append(kept, i)
			err = checkPoint(build.Entry, f.Expr)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: a field has arguments or the return value, not both", err)
		}
	}
	return kept, nil
}

func (r recorder) maps(b *build.Builder) (build.Map, misses) {
	return b.Map(program.Map{Name: "records", Type: program.RingBuf, MaxEntries: uint32(r.ring)}), newMisses(b)
}

func (r recorder) single(ctx program.Context) (*build.Handler, error) {
	b := build.New("record", ctx)
	ring, miss := r.maps(b)
	r.write(b, ring, miss, nil, nil)
	return finish(b, r.At, nil)
}

func (r recorder) paired(ctx program.Context, c Calls, kept []int) (*build.Handler, error) {
	return pair("record", ctx, func(b *build.Builder, at build.Point) {
		ring, miss := r.maps(b)
		saved := []build.Mem{b.Slot(8)} // which fields could not be read
		early := map[int]earlyMem{}
		for _, i := range kept {
			e := earlyMem{value: b.Slot(8)}
			saved = append(saved, e.value)
			if r.Fields[i].Expr.IsString() { // with or without a length: the maps must be the same
				e.length = b.Slot(8)
				saved = append(saved, e.length)
			}
			early[i] = e
		}
		if r.words > 0 {
			if len(saved) > r.words {
				b.Fail("%w: a record of the exit keeps no more than %d words of the entry's values here: take fewer fields, or parts of them", ErrParams, r.words)
			}
			for len(saved) < r.words {
				spare := b.Slot(8)
				b.Zero(spare)
				saved = append(saved, spare)
			}
		}
		f := newFrames(b, c, len(saved))
		if at == build.Entry {
			r.keep(b, kept, early, saved[0])
			f.push(b, saved, miss)
			return
		}
		took, since := b.Var(), b.Slot(8)
		f.pop(b, took, saved, miss)
		b.Store(since, took)
		b.Free(took)
		r.write(b, ring, miss, early, &callMem{since, saved[0]})
	}, nil)
}

// earlyMem is the place on the stack of a field computed at the entry; for a string, of its address
// and its length.
type earlyMem struct{ value, length build.Mem }

// callMem is the place on the stack of the kept words of a call.
type callMem struct{ took, faults build.Mem }

// keep computes early fields into stack slots, and records in faults which could not be read.
func (r recorder) keep(b *build.Builder, kept []int, early map[int]earlyMem, faults build.Mem) {
	// It is 0, since stacks lie in the lower half of memory, but no verifier knows that: it would take each
	// set of fields that can't be read for a way of its own.
	b.SP(build.R1)
	b.Move(build.R2, build.R1)
	b.Add(asm.RSh.Imm(build.R1, 63), asm.Mul.Reg(build.R1, build.R2))
	b.Store(faults, build.R1)
	for _, i := range kept {
		fault := func() {
			b.Load(build.R1, faults)
			b.Const(build.R2, 1<<i)
			b.Add(asm.Or.Reg(build.R1, build.R2))
			b.Store(faults, build.R1)
		}
		e, m := r.Fields[i].Expr, early[i]
		b.Zero(m.value)
		if !e.IsString() {
			r.number(b, e, m.value, fault)
			continue
		}
		r.number(b, e.Address(), m.value, fault)
		b.Zero(m.length)
		if n := e.Length(); n != nil {
			r.number(b, n, m.length, fault)
		}
	}
}

// number computes an expression into memory that is 0 before; fault records that it could not be
// read.
func (r recorder) number(b *build.Builder, e *filter.Expr, to build.Mem, fault func()) {
	bad, end := b.NewLabel(), b.NewLabel()
	e.Emit(b, build.R0, bad)
	b.Store(to, build.R0)
	if e.Reads() {
		b.Jump(end)
		b.Here(bad)
		fault()
		b.Here(end)
	}
}

// write builds the code that writes a record. early are fields on the stack.
func (r recorder) write(b *build.Builder, ring build.Map, miss misses, early map[int]earlyMem, call *callMem) {
	full, rec := b.NewLabel(), b.Var()
	b.Reserve(ring, r.size, full)
	b.Move(rec, build.R0)
	r.head(b, rec, call)
	for i, f := range r.Fields {
		at := build.At(rec, r.offs[i])
		m, isEarly := early[i]
		switch {
		case f.Expr.IsString():
			r.text(b, i, rec, m, isEarly)
		case isEarly:
			b.Load(build.R1, m.value)
			b.Store(at, build.R1)
		default:
			b.StoreImm(at, 0, asm.DWord)
			r.number(b, f.Expr, at, func() { r.bad(b, i, rec) })
		}
	}
	b.Submit(rec)
	b.Stop()
	miss.count(b, full, missFull)
	b.Free(rec)
}

func (r recorder) head(b *build.Builder, rec build.Reg, call *callMem) {
	b.Time(build.R0)
	b.Store(build.At(rec, recTime), build.R0)
	b.PIDTGID(build.R0)
	b.Store(build.At(rec, recThread), build.R0)
	b.Cookie(build.R0)
	b.StoreSize(build.At(rec, recCookie), build.R0, asm.Word)
	b.StoreImm(build.At(rec, recShape), int32(r.shape), asm.Word)
	info := int32(r.size | recVersion<<16 | len(r.Fields)<<24)
	if call == nil {
		b.StoreImm(build.At(rec, recTook), 0, asm.DWord)
		b.StoreImm(build.At(rec, recFaults), 0, asm.Word)
	} else {
		b.Load(build.R1, call.took)
		b.Store(build.At(rec, recTook), build.R1)
		b.Load(build.R1, call.faults)
		b.StoreSize(build.At(rec, recFaults), build.R1, asm.Word)
	}
	b.StoreImm(build.At(rec, recInfo), info, asm.Word)
}

// bad records that field i could not be read.
func (r recorder) bad(b *build.Builder, i int, rec build.Reg) {
	b.LoadSize(build.R1, build.At(rec, recFaults), asm.Word)
	b.Const(build.R2, 1<<i)
	b.Add(asm.Or.Reg(build.R1, build.R2))
	b.StoreSize(build.At(rec, recFaults), build.R1, asm.Word)
}

// text reads the string of field i into the record.
func (r recorder) text(b *build.Builder, i int, rec build.Reg, early earlyMem, isEarly bool) {
	f, at := r.Fields[i], build.At(rec, r.offs[i])
	data := at.Add(8)
	data.Size = f.Size
	b.StoreImm(at, 0, asm.DWord)
	if f.Expr.IsComm() {
		b.Comm(data)
		b.StoreImm(at, int32(f.Size), asm.DWord)
		return
	}
	bad, end := b.NewLabel(), b.NewLabel()
	part := func(dst build.Reg, e *filter.Expr, m build.Mem) {
		if isEarly {
			b.Load(dst, m)
		} else {
			e.Emit(b, dst, bad)
		}
	}
	if n := f.Expr.Length(); n != nil {
		size, address := b.Slot(8), b.Slot(8)
		part(build.R1, n, early.length)
		b.Store(size, build.R1)
		part(build.R1, f.Expr.Address(), early.value)
		b.Store(address, build.R1)
		r.sized(b, data, at, size, address, bad)
		b.Release(size, address)
	} else {
		part(build.R3, f.Expr.Address(), early.value)
		b.ReadString(data, build.R3)
		b.JumpIf(build.SLt(build.R0, 0), bad)
		b.Store(at, build.R0)
	}
	b.Jump(end)
	b.Here(bad)
	r.bad(b, i, rec)
	b.Here(end)
}

// sized reads a string with a known length, as much of it as fits in front of the end of the field.
func (r recorder) sized(b *build.Builder, data, length, size, address build.Mem, bad build.Label) {
	b.Load(build.R2, size)
	b.If(build.Gt(build.R2, int64(data.Size-1)), func() { b.Const(build.R2, int64(data.Size-1)) })
	b.Store(size, build.R2)
	b.Addr(build.R1, data)
	b.Load(build.R3, address)
	b.Call(program.FnProbeReadUser)
	b.JumpIf(build.Ne(build.R0, 0), bad)
	b.Load(build.R1, size)
	b.Const(build.R2, recSized)
	b.Add(asm.Or.Reg(build.R1, build.R2))
	b.Store(length, build.R1)
}

// keptWords is how many words a record of the exit may keep of expressions with names, of which it is not
// known yet how many parts they have.
func keptWords(exprs []*filter.Expr) int {
	n := 1
	for _, e := range exprs {
		switch {
		case !e.UsesArgs():
		case e.Text() == AllArguments:
			n += 16
		case e.IsOpen():
			n += 3
		case e.IsString():
			n += 2
		default:
			n++
		}
	}
	return n
}

// ShapeOf is the number of the form that a record's fields have, see Bound.
func ShapeOf(rec []byte) uint32 {
	if len(rec) < recFields {
		return 0
	}
	return binary.LittleEndian.Uint32(rec[recShape:])
}
