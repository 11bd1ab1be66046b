package build

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Map is a map of the program.
type Map struct {
	index int
	spec  program.Map
}

// Name is the map's name.
func (m Map) Name() string { return m.spec.Name }

// Map adds a map to the program.
func (b *Builder) Map(spec program.Map) Map {
	for _, m := range b.maps {
		if m.Name == spec.Name {
			b.Fail("two maps are called %q", spec.Name)
		}
	}
	b.maps = append(b.maps, spec)
	return Map{len(b.maps) - 1, spec}
}

// Call calls a helper by its number (program.FnMapLookup, ...). The arguments are in R1 to R5,
// which the call clobbers; the result is in R0.
func (b *Builder) Call(helper int32) {
	if program.Helpers[helper] == nil {
		b.Fail("no helper has number %d", helper)
	}
	b.Add(asm.BuiltinFunc(helper).Call())
}

// call calls a helper and copies the result.
func (b *Builder) call(dst Reg, helper int32) {
	b.Call(helper)
	b.Move(dst, R0)
}

// The following methods load what helpers return; they clobber R0 to R5.

// Time loads the monotonic clock, in nanoseconds.
func (b *Builder) Time(dst Reg) { b.call(dst, program.FnKtimeGetNS) }

// PIDTGID loads the process's id into the upper half, the thread's into the lower.
func (b *Builder) PIDTGID(dst Reg) { b.call(dst, program.FnCurrentPIDTGID) }

// UIDGID loads the group's id into the upper half, the user's into the lower.
func (b *Builder) UIDGID(dst Reg) { b.call(dst, program.FnCurrentUIDGID) }

// CPU loads the number of the CPU.
func (b *Builder) CPU(dst Reg) { b.call(dst, program.FnSMPProcessorID) }

// Cookie loads the number that the probe was registered with.
func (b *Builder) Cookie(dst Reg) {
	b.Move(R1, Ctx)
	b.call(dst, program.FnGetAttachCookie)
}

// FuncIP loads the address of the probe.
func (b *Builder) FuncIP(dst Reg) {
	b.Move(R1, Ctx)
	b.call(dst, program.FnGetFuncIP)
}

// Comm writes the thread's name to m, of 16 bytes, padded with 0.
func (b *Builder) Comm(m Mem) {
	b.Addr(R1, m)
	b.Const(R2, 16)
	b.Call(program.FnCurrentComm)
}

// Read reads m.Size bytes of the tracee's memory at the address in a register. R0 is 0, or negative
// if the memory can't be read. It clobbers R0 to R5.
func (b *Builder) Read(m Mem, addr Reg) { b.read(m, addr, program.FnProbeReadUser) }

// ReadString reads a string of the tracee, cut to m.Size-1 bytes, with a 0 behind it. R0 is its
// length in bytes including the 0, or negative. It clobbers R0 to R5.
func (b *Builder) ReadString(m Mem, addr Reg) { b.read(m, addr, program.FnProbeReadUserStr) }

func (b *Builder) read(m Mem, addr Reg, helper int32) {
	b.Move(R3, addr)
	b.Addr(R1, m)
	b.Const(R2, int64(m.Size))
	b.Call(helper)
}

// Write writes m to the tracee's memory at the address in a register. R0 is 0, or negative on
// error. It clobbers R0 to R5 and requires the right WriteMemory.
func (b *Builder) Write(addr Reg, m Mem) {
	b.Move(R1, addr)
	b.Addr(R2, m)
	b.Const(R3, int64(m.Size))
	b.Call(program.FnProbeWriteUser)
}

// Print prints a line to the kernel's trace pipe, or as an event of the engine. The format is that
// of bpf_trace_printk, up to 63 bytes, with up to three numbers. It clobbers R0 to R5.
func (b *Builder) Print(format string, args ...Reg) {
	if len(format) > 63 || len(args) > 3 {
		b.Fail("a line to print has up to 63 bytes and 3 numbers, not %d and %d", len(format), len(args))
		return
	}
	text := append([]byte(format), make([]byte, 8-len(format)%8)...)
	slot := b.Slot(len(text))
	for i := 0; i < len(text); i += 8 {
		b.Const(R0, int64(binary.LittleEndian.Uint64(text[i:])))
		b.Store(slot.Add(i), R0)
	}
	for i, r := range args {
		b.Move(R3+Reg(i), r)
	}
	b.Addr(R1, slot)
	b.Const(R2, int64(len(format)+1))
	b.Call(program.FnTracePrintk)
	b.Release(slot)
}

// LoadMap loads a map, in the form that helpers expect.
func (b *Builder) LoadMap(dst Reg, m Map) { b.Add(asm.LoadMapPtr(dst, m.index)) }

// Lookup looks up a key. R0 is the value's address; without an entry the program continues at none.
func (b *Builder) Lookup(m Map, key Mem, none Label) {
	b.lookup(m, key)
	b.JumpIf(Eq(R0, 0), none)
}

func (b *Builder) lookup(m Map, key Mem) {
	b.LoadMap(R1, m)
	b.Addr(R2, key)
	b.Call(program.FnMapLookup)
}

// Index looks up entry i of an array. R0 is the value's address. If the array has no such entry,
// which a correct program does not ask for, the program ends.
func (b *Builder) Index(m Map, i int) {
	if uint32(i) >= m.spec.MaxEntries {
		b.Fail("map %s has no entry %d", m.spec.Name, i)
	}
	key, found := b.Slot(4), b.NewLabel()
	b.StoreImm(key, int32(i), asm.Word)
	b.lookup(m, key)
	b.Release(key)
	b.JumpIf(Ne(R0, 0), found)
	b.Return(0)
	b.Here(found)
}

// Flags of updates.
const (
	Any     = 0
	NoExist = 1
	Exist   = 2
)

// Update stores an entry; R0 is 0 or negative.
func (b *Builder) Update(m Map, key, value Mem, flags int64) {
	b.LoadMap(R1, m)
	b.Addr(R2, key)
	b.Addr(R3, value)
	b.Const(R4, flags)
	b.Call(program.FnMapUpdate)
}

// Delete removes an entry.
func (b *Builder) Delete(m Map, key Mem) {
	b.LoadMap(R1, m)
	b.Addr(R2, key)
	b.Call(program.FnMapDelete)
}

// zeroMax is the largest size, in bytes, of a new value that is cleared on the stack; larger ones
// are copied from a map.
const zeroMax = 64

// LookupOrInit looks up a key and adds an entry of zeros if there is none. R0 is the value's
// address. If the map is full the program continues at full. It clobbers R0 to R5.
func (b *Builder) LookupOrInit(m Map, key Mem, full Label) {
	found := b.NewLabel()
	b.lookup(m, key)
	b.JumpIf(Ne(R0, 0), found)
	b.insertZeros(m, key)
	// Another thread may have added it first: only its presence counts.
	b.Lookup(m, key, full)
	b.Here(found)
}

func (b *Builder) insertZeros(m Map, key Mem) {
	size := int(m.spec.ValueSize)
	if size <= zeroMax {
		zero := b.Slot(size)
		b.Zero(zero)
		b.Update(m, key, zero, NoExist)
		b.Release(zero)
		return
	}
	b.Index(b.zeros(size), 0)
	b.Update(m, key, At(R0, 0), NoExist)
}

// zeros returns a map with one value of that size, which is never written.
func (b *Builder) zeros(size int) Map {
	const name = "zeros"
	for i, m := range b.maps {
		if m.Name == name && m.ValueSize >= uint32(size) {
			return Map{i, m}
		}
	}
	return b.Map(program.Map{Name: name, Type: program.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1})
}

// Reserve takes size bytes of a ring. R0 is the record's address. If the ring is full the program
// continues at full. Submit or Discard must end the record on all paths.
func (b *Builder) Reserve(m Map, size int, full Label) {
	b.LoadMap(R1, m)
	b.Const(R2, int64(size))
	b.Const(R3, 0)
	b.Call(program.FnRingbufReserve)
	b.JumpIf(Eq(R0, 0), full)
}

// Submit hands a reserved record to the reader.
func (b *Builder) Submit(record Reg) { b.end(record, program.FnRingbufSubmit) }

// Discard drops a reserved record.
func (b *Builder) Discard(record Reg) { b.end(record, program.FnRingbufDiscard) }

func (b *Builder) end(record Reg, helper int32) {
	b.Move(R1, record)
	b.Const(R2, 0)
	b.Call(helper)
}

// Output copies m to a ring as one record; R0 is 0, or negative on error.
func (b *Builder) Output(ring Map, m Mem) {
	b.LoadMap(R1, ring)
	b.Addr(R2, m)
	b.Const(R3, int64(m.Size))
	b.Const(R4, 0)
	b.Call(program.FnRingbufOutput)
}
