package build

import (
	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Mem is memory at a register plus an offset, for example a stack slot, a map value, or a reserved
// record.
type Mem struct {
	Base Reg
	Off  int16
	Size int // bytes; 0: not known
}

// At is the memory at the address in base plus off.
func At(base Reg, off int) Mem { return Mem{Base: base, Off: int16(off)} }

// Add is the memory n bytes further on.
func (m Mem) Add(n int) Mem {
	m.Off += int16(n)
	if m.Size > 0 {
		m.Size -= n
	}
	return m
}

// stack hands out the frame in words of 8 bytes; word i lies at -8*(i+1).
type stack struct{ used [program.StackSize / 8]bool }

// take finds n words in a row; last is the one with the lowest address.
func (s *stack) take(n int) (last int, ok bool) {
	run := 0
	for i, used := range s.used {
		if run++; used {
			run = 0
		}
		if run == n {
			for k := i - n + 1; k <= i; k++ {
				s.used[k] = true
			}
			return i, true
		}
	}
	return 0, false
}

// Slot takes size bytes of the stack, aligned to 8.
func (b *Builder) Slot(size int) Mem {
	words := (size + 7) / 8
	last, ok := b.stack.take(max(words, 1))
	if !ok {
		b.Fail("no %d bytes of stack are left of %d", size, program.StackSize)
	}
	return Mem{Base: R10, Off: int16(-8 * (last + 1)), Size: size}
}

// Release returns slots.
func (b *Builder) Release(slots ...Mem) {
	for _, m := range slots {
		last := int(-m.Off)/8 - 1
		for k := range max((m.Size+7)/8, 1) {
			if i := last - k; i >= 0 && i < len(b.stack.used) {
				b.stack.used[i] = false
			}
		}
	}
}

// Load loads 8 bytes.
func (b *Builder) Load(dst Reg, m Mem) { b.LoadSize(dst, m, asm.DWord) }

// LoadSize loads 1, 2, 4 or 8 bytes; the rest of the register becomes 0.
func (b *Builder) LoadSize(dst Reg, m Mem, size asm.Size) {
	b.Add(asm.LoadMem(dst, m.Base, m.Off, size))
}

// Store stores 8 bytes.
func (b *Builder) Store(m Mem, src Reg) { b.StoreSize(m, src, asm.DWord) }

// StoreSize stores the lower 1, 2, 4 or 8 bytes of a register.
func (b *Builder) StoreSize(m Mem, src Reg, size asm.Size) {
	b.Add(asm.StoreMem(m.Base, m.Off, src, size))
}

// StoreImm stores a constant of 1, 2, 4 or 8 bytes.
func (b *Builder) StoreImm(m Mem, v int32, size asm.Size) {
	// asm.StoreImm does not support 8 bytes.
	b.Add(asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: m.Base, Offset: m.Off, Constant: int64(v)})
}

// Zero clears a slot, up to the next multiple of 8 bytes.
func (b *Builder) Zero(m Mem) {
	for at := 0; at < m.Size; at += 8 {
		b.StoreImm(m.Add(at), 0, asm.DWord)
	}
}

// Addr loads the address of memory.
func (b *Builder) Addr(dst Reg, m Mem) {
	b.Move(dst, m.Base)
	if m.Off != 0 {
		b.Add(asm.Add.Imm(dst, int32(m.Off)))
	}
}

// Move copies a register.
func (b *Builder) Move(dst, src Reg) {
	if dst != src {
		b.Add(asm.Mov.Reg(dst, src))
	}
}

// Const loads a constant.
func (b *Builder) Const(dst Reg, v int64) {
	if int64(int32(v)) == v {
		b.Add(asm.Mov.Imm(dst, int32(v)))
		return
	}
	b.Add(asm.LoadImm(dst, v, asm.DWord))
}

// Inc adds 1 to 8 bytes, atomically. It clobbers R1; the memory may not be at
// R1.
func (b *Builder) Inc(m Mem) {
	b.Const(R1, 1)
	b.AddTo(m, R1)
}

// AddTo adds a register to 8 bytes, atomically.
func (b *Builder) AddTo(m Mem, src Reg) {
	b.Add(asm.AddAtomic.Mem(m.Base, src, asm.DWord, m.Off))
}

// FetchAdd adds a register to 8 bytes, atomically, and sets it to the old value.
func (b *Builder) FetchAdd(m Mem, src Reg) {
	b.Add(asm.FetchAdd.Mem(m.Base, src, asm.DWord, m.Off))
}

// Swap stores src in 8 bytes if they equal R0, atomically; R0 becomes the old value.
func (b *Builder) Swap(m Mem, src Reg) {
	b.Add(asm.CmpXchg.Mem(m.Base, src, asm.DWord, m.Off))
}

// maxTries is how often Max tries to store its value. Each failure means that another thread has
// stored a value, within two instructions.
const maxTries = 4

// Max makes 8 bytes, an unsigned number, at least v, atomically. It clobbers R0;
// neither v nor the memory may be at R0.
func (b *Builder) Max(m Mem, v Reg) {
	end, cur := b.NewLabel(), R5
	b.Load(R0, m)
	for range maxTries {
		b.JumpIf(Ge(R0, 0).With(v), end)
		b.Move(cur, R0)
		b.Swap(m, v)
		b.JumpIf(Eq(R0, 0).With(cur), end)
	}
	b.Here(end)
}
