package arm64

import (
	"math/bits"

	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Address sets r to the address of m.
func (c *compiler) Address(r uint8, m plan.Mem) { c.address(home[r], m) }

// Operation writes operation i.
func (c *compiler) Operation(i int) {
	switch o := &c.Ops[i]; o.Kind {
	case plan.Const:
		c.constant(home[o.Dst], o.Imm)
	case plan.Address:
		c.address(home[o.Dst], o.Mem)
	case plan.Move:
		c.move(o.Wide, home[o.Dst], c.source(o.Src, scratch0))
	case plan.Extend:
		c.extend(o.Wide, o.Size, home[o.Dst], c.source(o.Src, scratch0))
	case plan.Truncate:
		c.truncate(o.Size, home[o.Dst], home[o.Dst])
	case plan.Swap:
		c.swap(o.Size, home[o.Dst])
	case plan.Negate:
		c.negate(o)
	case plan.BitLen:
		c.bitLength(home[o.Dst], home[o.Src])
	case plan.Alu:
		c.alu(o)
	default:
		c.further(o)
	}
}

// further writes memory operations and those that leave the straight path.
func (c *compiler) further(o *plan.Op) {
	switch o.Kind {
	case plan.Load:
		c.load(o)
	case plan.LoadAcq:
		c.loadAcquire(o)
	case plan.Store:
		c.store(o)
	case plan.StoreRel:
		c.storeRelease(o)
	case plan.Atomic:
		c.atomic(o)
	case plan.FuncAddr:
		c.changes(home[o.Dst])
		c.jump(0x10000000|uint32(home[o.Dst]), formAdr, c.FuncLabel(o.To))
	case plan.Jump:
		c.jumpIf(o)
	case plan.Goto:
		c.Branch(o.To)
	case plan.Call:
		c.helper(o)
	case plan.CallFunc:
		c.call(o.To)
	case plan.Repeat:
		c.repeat(o)
	case plan.Lookup:
		c.lookup(o)
	case plan.CPU:
		c.cpu(home[program.R0])
	default:
		c.primitive(o)
	}
}

var conditions = map[uint8]uint32{
	program.JmpEq: condEq, program.JmpNe: condNe, program.JmpSet: condNe,
	program.JmpGt: condHI, program.JmpGe: condHS, program.JmpLt: condLO, program.JmpLe: condLS,
	program.JmpSgt: condGT, program.JmpSge: condGE, program.JmpSlt: condLT, program.JmpSle: condLE,
}

func (c *compiler) jumpIf(o *plan.Op) {
	x := c.source(o.Dst, scratch1)
	if o.UsesImm() && o.Imm == 0 && (o.Fn == program.JmpEq || o.Fn == program.JmpNe) {
		c.branchZero(o.Wide, o.Fn == program.JmpNe, x, o.To)
		return
	}
	c.Flags = true
	switch {
	case o.Fn == program.JmpSet:
		if !o.UsesImm() || !c.logical(o.Wide, immAnds, zero, x, uint64(o.Imm)) {
			c.three(o.Wide, opAnds, zero, x, c.operand(o, scratch0))
		}
	case o.UsesImm():
		c.compare(o.Wide, x, o.Imm)
	default:
		c.three(o.Wide, opSubs, zero, x, c.source(o.Src, scratch0))
	}
	c.branchIf(conditions[o.Fn], o.To)
}

// compare sets the flags by x - n.
func (c *compiler) compare(wide bool, x reg, n int64) {
	c.Flags = true
	if !wide {
		n = int64(int32(n))
	}
	if c.imm12(wide, immSubs, zero, x, n) || n < 0 && c.imm12(wide, immAdds, zero, x, -n) {
		return
	}
	c.constant(scratch0, n)
	c.three(wide, opSubs, zero, x, scratch0)
}

// helper calls a helper, which may change the flags.
func (c *compiler) helper(o *plan.Op) {
	addr := c.Target.Helpers[plan.Helper{Num: int32(o.Imm), Map: o.To}]
	c.Change(volatile)
	c.Flags, c.Calls = true, true
	d := int64(addr) - int64(c.Target.Base) - int64(len(c.Code))
	if fits(d, 28) && d&3 == 0 {
		c.put(0x94000000 | uint32(d>>2)&(1<<26-1)) // bl
		return
	}
	c.constant(callee, int64(addr))
	c.put(0xd63f0000 | uint32(callee)<<5) // blr
}

// call calls function f.
func (c *compiler) call(f int) {
	c.ChangeBy(f)
	c.changes(lr)
	c.jump(0x94000000, formBranch, c.FuncLabel(f))
}

// Errors of bpf_loop, and its largest count (include/linux/bpf.h, BPF_MAX_LOOPS).
const (
	errInvalid = -22
	errTooBig  = -7
	maxLoops   = 8 << 20
)

// repeat is bpf_loop: it calls the function in R2 R1 times, with the count and R3.
func (c *compiler) repeat(o *plan.Op) {
	r0, r1, r2 := home[program.R0], home[program.R1], home[program.R2]
	done, end, tooBig, again := c.NewLabel(), c.NewLabel(), c.NewLabel(), c.NewLabel()
	c.changes(r0, r1, r2)
	if o.Imm != 0 {
		c.constant(r0, errInvalid)
		c.branchZero(true, true, home[program.R4], end)
	}
	c.compare(false, r1, maxLoops)
	c.branchIf(condHI, tooBig)
	c.access(accStore, 2, r1, sp, plan.LoopLimit)
	c.access(accStore, 3, home[program.R3], sp, plan.LoopArg)
	if o.To < 0 {
		c.access(accStore, 3, r2, sp, plan.LoopCode)
	}
	c.access(accStore, 2, zero, sp, plan.LoopCount)
	c.Label(again)
	c.changes(scratch0)
	c.access(accLoad, 2, r1, sp, plan.LoopCount)
	c.access(accLoad, 2, scratch0, sp, plan.LoopLimit)
	c.three(false, opSubs, zero, r1, scratch0)
	c.branchIf(condHS, done)
	c.access(accLoad, 3, r2, sp, plan.LoopArg)
	c.repeatCall(o.To)
	c.access(accLoad, 2, scratch0, sp, plan.LoopCount)
	c.imm12(false, immAdd, scratch0, scratch0, 1)
	c.access(accStore, 2, scratch0, sp, plan.LoopCount)
	c.branchZero(true, false, r0, again)
	c.Label(done)
	c.access(accLoad, 2, r0, sp, plan.LoopCount)
	c.Branch(end)
	c.Label(tooBig)
	c.constant(r0, errTooBig)
	c.Label(end)
}

// repeatCall calls function f, or the function at the saved address.
func (c *compiler) repeatCall(f int) {
	if f >= 0 {
		c.call(f)
		return
	}
	c.ChangeBy(f)
	c.changes(callee, lr)
	c.access(accLoad, 3, callee, sp, plan.LoopCode)
	c.put(0xd63f0000 | uint32(callee)<<5) // blr
}

// cpu sets r to the number of the CPU: the first word of struct rseq, which is a valid CPU number
// at any time, even if the thread has not registered one (include/uapi/linux/rseq.h, cpu_id_start).
func (c *compiler) cpu(r reg) {
	c.changes(r)
	c.put(0xd53bd040 | uint32(r)) // mrs r, tpidr_el0
	c.memory(accLoad, 2, r, place{r, int64(c.Target.RSeq)})
}

// lookup sets R0 to the address of an array's value. A known index is valid.
func (c *compiler) lookup(o *plan.Op) {
	m, l, r0 := &c.Program.Maps[o.To], &c.Target.Maps[o.To], home[program.R0]
	mem := plan.Mem{Base: plan.BaseRegion, Off: int64(l.Data)}
	constant, register := o.Key()
	if constant {
		mem.Off += o.Imm * int64(l.Stride)
		c.slot(r0, l.CPUs)
		c.scaled(r0, r0, l.CPUStride, c.spareAddress(o, mem))
		return
	}
	miss, done := o.Miss, c.NewLabel()
	if miss < 0 {
		miss = c.NewLabel()
	}
	c.changes(r0)
	if register {
		c.truncate(4, r0, home[o.Src])
	} else {
		c.memory(accLoad, 2, r0, c.place(o.Mem))
	}
	c.compare(false, r0, int64(int32(m.MaxEntries)))
	c.branchIf(condHS, miss)
	c.scaled(r0, r0, l.Stride, c.spareAddress(o, mem))
	if m.Type.PerCPU() {
		c.slot(scratch1, l.CPUs)
		c.scaled(r0, scratch1, l.CPUStride, r0)
	}
	if o.Miss < 0 {
		c.Branch(done)
		c.Label(miss)
		c.constant(r0, 0)
	}
	c.Label(done)
}

// scaled sets dst to x*by + base.
func (c *compiler) scaled(dst, x reg, by int, base reg) {
	if by > 0 && by&(by-1) == 0 {
		shift := uint32(bits.TrailingZeros(uint(by)))
		c.put(sf(true) | opAdd | uint32(x)<<16 | shift<<10 | uint32(base)<<5 | uint32(dst))
		return
	}
	c.constant(scratch3, int64(by))
	c.multiply(true, false, dst, x, scratch3, base)
}

// spareAddress sets a register that is not needed to the address of mem: if possible one of those
// that are changed anyway.
func (c *compiler) spareAddress(o *plan.Op, mem plan.Mem) reg {
	spare := scratch2
	for r := program.R1; r <= program.R5; r++ {
		if o.Live>>r&1 == 0 && c.Changes(words(home[r])) {
			spare = home[r]
			break
		}
	}
	c.address(spare, mem)
	return spare
}
