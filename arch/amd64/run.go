package amd64

import (
	"encoding/binary"
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// jumpLen is the length of jmp rel32.
const jumpLen = 5

func (isa) JumpLen() int { return jumpLen }
func (isa) MaxJump() int { return jumpLen }

// Jump writes no landing pad in front: Linux enforces landing pads in kernels only.
func (isa) Jump(_ []byte, from, to arch.Addr) ([]byte, error) {
	end := from + jumpLen
	if !reaches(end, to) {
		return nil, failure.Unsupportedf("%v is out of a jump's reach from %v", to, from)
	}
	b := make([]byte, jumpLen)
	b[0] = opJmp
	binary.LittleEndian.PutUint32(b[1:], uint32(to-end))
	return b, nil
}

func (isa) Run(code []byte, at arch.Addr, n int) (list []arch.Inst, err error) {
	got := 0
	var read pointers
	for got < n {
		in, err := parse(code[got:])
		if err != nil {
			return nil, err
		}
		d, err := isa{}.Decode(code[got:], at+arch.Addr(got))
		if err != nil {
			return nil, err
		}
		last := got+in.len >= n || ends(d.Kind) && padding(code[got+in.len:], n-got-in.len)
		switch {
		case d.Kind == arch.KindTrap, d.Kind == arch.KindSyscall:
			return nil, failure.Unsupportedf("a system call or trap would be displaced")
		case !last && d.Kind != arch.KindOther && d.Kind != arch.KindNop && !in.branchesOut():
			return nil, failure.Unsupportedf("a jump, call or return %d bytes in, with %d to be displaced", got, n)
		case in.table == mapOne && !in.vector && (in.op == 0x9c || in.op == 0x9d):
			return nil, failure.Unsupportedf("flags are pushed or popped, which a task that is stepped shows")
		case got > 0 && d.Kind == arch.KindBranch && in.xbegin():
			return nil, failure.Unsupportedf("a transaction begins %d bytes in", got)
		}
		d.Faults, d.Follows = !in.harmless(d.Kind), read.follow(&in)
		list = append(list, d)
		if got += in.len; last {
			break
		}
	}
	for _, d := range list {
		if d.Kind == arch.KindBranch && d.Target > at && d.Target < at+arch.Addr(got) {
			return nil, failure.Unsupportedf("a branch in it leads to what would be displaced with it")
		}
	}
	return list, nil
}

// pointers has the registers that consecutive instructions have read through, and the offsets that
// they have read.
type pointers [16]struct {
	used bool
	at   int64
}

// follow reports whether an instruction reads through one of the registers, near to an earlier
// read, and records its own read.
func (p *pointers) follow(in *inst) (follows bool) {
	if in.vector || in.table != mapOne || in.op != 0x8b || !in.memory() || in.hasSIB || in.ripRelative() || in.seg != 0 || in.addrsize {
		*p = pointers{}
		return false
	}
	base, to := &p[in.rm()|in.rexB()<<3], in.reg()|in.rex>>2&1<<3
	away := int64(in.disp) - base.at
	follows = base.used && away > -4096+8 && away < 4096-8
	base.used, base.at = true, int64(in.disp)
	p[to].used = false
	return follows
}

// branchesOut reports whether an instruction is a conditional jump that one instruction can replace
// for any target.
func (in *inst) branchesOut() bool {
	return !in.vector && (in.table == mapOne && in.op&0xf0 == 0x70 || in.table == map0F && in.op&0xf0 == 0x80)
}

// branchOut writes a conditional jump; if it is not taken the run continues behind it.
func (r *relocation) branchOut() error {
	target, long := r.target(r.code, r.from), r.longBranch()
	end := r.b.PC() + arch.Addr(len(long)+4)
	if !reaches(end, target) {
		return failure.Unsupportedf("a branch's target out of reach of the slot")
	}
	r.b.Bytes(long...)
	r.b.Uint32(uint32(target - end))
	return nil
}

// ends reports whether control never continues behind an instruction.
func ends(k arch.Kind) bool {
	return k == arch.KindReturn || k == arch.KindJump || k == arch.KindJumpIndirect
}

// padding reports whether n bytes look like the padding between functions.
func padding(code []byte, n int) bool {
	for n > 0 {
		in, err := parse(code)
		if err != nil || in.kind(code) != arch.KindNop && code[0] != opInt3 {
			return false
		}
		code, n = code[in.len:], n-in.len
	}
	return true
}

// harmless reports whether an instruction can't fault, unless the stack does. Direct jumps and
// returns count as harmless, though their next instruction may fault.
func (in *inst) harmless(k arch.Kind) bool {
	switch k {
	case arch.KindNop, arch.KindJump, arch.KindBranch, arch.KindCall, arch.KindReturn:
		return !in.xbegin()
	case arch.KindJumpIndirect, arch.KindCallIndirect:
		return !in.memory()
	case arch.KindOther:
	default:
		return false
	}
	sound := !in.memory() || in.sound()
	switch {
	case in.vector, in.lock, in.table == map0F38, in.table == map0F3A:
		return false
	case in.table == map0F:
		return harmless0F[in.op] && sound || harmlessVector[in.op] && !in.memory()
	case in.op == 0x8d: // lea
		return in.memory()
	case in.op == 0xf6, in.op == 0xf7: // divisions fault
		return sound && in.reg() < 6
	case in.op == 0xfe, in.op == opGroup5: // inc, dec, push
		return sound && (in.reg() < 2 || in.reg() == 6)
	case in.modrmAt != 0:
		return sound && harmlessOne[in.op]
	}
	return harmlessOne[in.op]
}

// sound reports whether a memory operand is certainly mapped: the stack, the file's own data, the
// thread's.
func (in *inst) sound() bool {
	onStack := in.disp >= -128 && in.hasSIB && in.sib&7 == numRSP && in.rexB() == 0 && in.sib>>3&7 == numRSP && in.rexX() == 0
	threads := in.seg == 0x64 && in.mod() == 0 && in.hasSIB && in.sib == 0x25
	return (in.ripRelative() || onStack) && in.seg == 0 && !in.addrsize || threads
}

// Opcodes of instructions that can't fault if their operand does not. Those of harmlessVector may
// require an aligned operand.
var (
	harmlessOne = opcodes(
		0x00, 0x05, 0x08, 0x0d, 0x10, 0x15, 0x18, 0x1d, 0x20, 0x25, 0x28, 0x2d, 0x30, 0x35, 0x38, 0x3d, // arithmetic
		0x50, 0x5f, 0x63, 0x63, 0x68, 0x6b, // push, pop, movsxd, push, imul
		0x80, 0x81, 0x83, 0x8b, // arithmetic, test, xchg, mov
		0x90, 0x99, // xchg, cbw, cwd
		0xa8, 0xa9, 0xb0, 0xbf, 0xc0, 0xc1, 0xc6, 0xc7, 0xd0, 0xd3) // test, mov, shifts, mov, shifts
	harmless0F = opcodes(
		0x10, 0x11, 0x40, 0x4f, 0x6e, 0x6e, 0x7e, 0x7e, // movups and such, cmov, movd
		0x90, 0x9f, 0xaf, 0xaf, 0xb6, 0xb7, 0xbe, 0xbf, 0xc8, 0xcf, 0xd6, 0xd6) // setcc, imul, movzx, movsx, bswap, movq
	harmlessVector = opcodes(0x12, 0x12, 0x14, 0x17, 0x28, 0x29, 0x54, 0x57, 0x6f, 0x6f, 0x7f, 0x7f, 0xef, 0xef) // moves, logic
)

// opcodes returns a set of ranges of opcodes.
func opcodes(ranges ...byte) (set [256]bool) {
	for i := 0; i < len(ranges); i += 2 {
		for op := int(ranges[i]); op <= int(ranges[i+1]); op++ {
			set[op] = true
		}
	}
	return set
}

func (isa) RelocateRun(b *arch.Buffer, code []byte, from arch.Addr, run []arch.Inst, before func(i int) error) (arch.Slot, error) {
	if len(run) == 0 {
		return arch.Slot{}, failure.Unsupportedf("no instruction")
	}
	w := slotWriter{b: b, start: len(b.Code)}
	for i, at := 0, 0; i < len(run); i++ {
		in, err := parse(code[at:])
		if err != nil {
			return arch.Slot{}, err
		}
		if before != nil {
			if err := before(i); err != nil {
				return arch.Slot{}, err
			}
		}
		here := from + arch.Addr(at)
		r := relocation{slotWriter: w, inst: in, code: code[at : at+in.len], from: here, next: here + arch.Addr(in.len)}
		r.mark(arch.Fix{PC: here, Before: true})
		switch {
		case i == len(run)-1:
			err = r.write()
		case run[i].Kind == arch.KindBranch:
			err = r.branchOut()
		default:
			err = r.copy()
		}
		if err != nil {
			b.Code = b.Code[:w.start]
			return arch.Slot{}, fmt.Errorf("relocate % x: %w", r.code, err)
		}
		w, at = r.slotWriter, at+in.len
	}
	return w.finish(), nil
}
