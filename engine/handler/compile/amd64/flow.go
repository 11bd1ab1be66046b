package amd64

import (
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Branch jumps to a label.
func (c *compiler) Branch(label int) { c.jump(always, label) }

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
		c.move(o.Wide, home[o.Dst], c.source(o.Src))
	case plan.Extend:
		c.extend(o.Wide, o.Size, home[o.Dst], is(c.source(o.Src)))
	case plan.Truncate:
		c.truncate(o.Size, home[o.Dst], is(home[o.Dst]))
	case plan.Swap:
		c.swap(o.Size, home[o.Dst])
	case plan.Negate:
		c.negate(o)
	case plan.BitLen:
		c.bitLength(home[o.Dst], home[o.Src])
	case plan.Alu:
		c.alu(o)
	case plan.Load, plan.LoadAcq: // the processor never reorders a load with later accesses
		if c.inPlace(i) {
			c.left = o
			break
		}
		c.load(i)
	case plan.Store, plan.StoreRel: // and never a store with earlier ones
		c.store(o)
	case plan.Atomic:
		c.atomic(o)
	default:
		c.flow(i)
	}
}

// flow writes operations that leave the straight path.
func (c *compiler) flow(i int) {
	switch o := &c.Ops[i]; o.Kind {
	case plan.FuncAddr:
		c.changes(home[o.Dst])
		c.bytes(0x48|byte(home[o.Dst]>>3)<<2, 0x8d, byte(home[o.Dst]&7)<<3|5)
		c.distance(c.FuncLabel(o.To), 4)
	case plan.Jump:
		c.jumpIf(i)
	case plan.Goto:
		c.jump(always, o.To)
	case plan.Call:
		c.helper(o)
	case plan.CallFunc:
		c.call(o.To)
	case plan.Repeat:
		c.repeat(o)
	case plan.Lookup:
		c.lookup(o)
	case plan.CPU:
		c.cpu(rax)
	default:
		c.primitive(o)
	}
}

var conditions = map[uint8]condition{
	program.JmpEq: ifEqual, program.JmpNe: ifNot, program.JmpSet: ifNot,
	program.JmpGt: ifAbove, program.JmpGe: ifNotBelow, program.JmpLt: ifBelow, program.JmpLe: 0x6,
	program.JmpSgt: 0xf, program.JmpSge: 0xd, program.JmpSlt: 0xc, program.JmpSle: 0xe,
}

func (c *compiler) jumpIf(i int) {
	o := &c.Ops[i]
	c.Flags = true
	if when, ok := bySign[o.Fn]; ok && c.flagged(i) {
		c.jump(when, o.To)
		return
	}
	if p, ok := c.loaded(o.Src); ok {
		c.jumpIfLoaded(o, p, true)
		return
	}
	if p, ok := c.loaded(o.Dst); ok {
		c.jumpIfLoaded(o, p, false)
		return
	}
	dst, n := c.jumpOperand(o), int64(int32(o.Imm))
	switch {
	case !o.UsesImm() && o.Fn == program.JmpSet:
		c.put(inst{wide: o.Wide, op: test, reg: c.source(o.Src), rm: is(dst)})
	case !o.UsesImm():
		c.put(inst{wide: o.Wide, op: cmp, reg: c.source(o.Src), rm: is(dst)})
	case o.Fn == program.JmpSet:
		c.put(inst{wide: o.Wide, op: unary, reg: 0, rm: is(dst), imm: n, immLen: 4})
	case n == 0:
		c.put(inst{wide: o.Wide, op: test, reg: dst, rm: is(dst)})
	default:
		c.withImm(o.Wide, groupCmp, is(dst), n, 0)
	}
	c.jump(conditions[o.Fn], o.To)
}

// jumpOperand returns the register of the left side.
func (c *compiler) jumpOperand(o *plan.Op) reg {
	if o.Dst == program.R10 {
		c.address(scratch1, plan.Mem{Base: plan.BaseStack})
		return scratch1
	}
	return home[o.Dst]
}

// helper calls a helper.
func (c *compiler) helper(o *plan.Op) {
	addr := c.Target.Helpers[plan.Helper{Num: int32(o.Imm), Map: o.To}]
	c.Change(volatile)
	c.Flags, c.Calls = true, true
	if c.near(addr) {
		c.bytes(0xe8)
		c.relativeTo(addr, 0)
		return
	}
	c.constant(rax, int64(addr))
	c.bytes(0xff, 0xd0) // call rax
}

// call calls function f.
func (c *compiler) call(f int) {
	c.ChangeBy(f)
	c.bytes(0xe8)
	c.distance(c.FuncLabel(f), 4)
}

// Errors of bpf_loop, and its largest count (include/linux/bpf.h, BPF_MAX_LOOPS).
const (
	errInvalid = -22
	errTooBig  = -7
	maxLoops   = 8 << 20
)

// repeat is bpf_loop: it calls the function in R2 R1 times, with the count and R3.
func (c *compiler) repeat(o *plan.Op) {
	done, end, tooBig := c.NewLabel(), c.NewLabel(), c.NewLabel()
	word := func(off int64, r reg, op []byte, wide bool) {
		c.put(inst{wide: wide, op: op, reg: r, rm: at(rsp, off)})
	}
	c.Flags = true
	c.changes(rax, rdi, rsi)
	if o.Imm != 0 {
		c.constant(rax, errInvalid)
		c.put(inst{wide: true, op: test, reg: rcx, rm: is(rcx)})
		c.jump(ifNot, end)
	}
	c.withImm(false, groupCmp, is(rdi), maxLoops, 0)
	c.jump(ifAbove, tooBig)
	word(plan.LoopLimit, rdi, movTo, false)
	word(plan.LoopArg, rdx, movTo, true)
	if o.To < 0 {
		word(plan.LoopCode, rsi, movTo, true)
	}
	c.put(inst{op: movImm, reg: 0, rm: at(rsp, plan.LoopCount), immLen: 4})
	again := c.NewLabel()
	c.Label(again)
	word(plan.LoopCount, rdi, movFrom, false)
	word(plan.LoopLimit, rdi, cmpFrom, false)
	c.jump(ifNotBelow, done)
	word(plan.LoopArg, rsi, movFrom, true)
	c.repeatCall(o.To)
	c.withImm(false, groupAdd, at(rsp, plan.LoopCount), 1, 0)
	c.put(inst{wide: true, op: test, reg: rax, rm: is(rax)})
	c.jump(ifEqual, again)
	c.Label(done)
	word(plan.LoopCount, rax, movFrom, false)
	c.jump(always, end)
	c.Label(tooBig)
	c.constant(rax, errTooBig)
	c.Label(end)
}

// repeatCall calls function f, or the function at the saved address.
func (c *compiler) repeatCall(f int) {
	if f >= 0 {
		c.call(f)
		return
	}
	c.ChangeBy(f)
	c.put(inst{op: []byte{0xff}, reg: 2, rm: at(rsp, plan.LoopCode)})
}

// cpu sets r to the number of the CPU. rdpid returns the kernel's value in TSC_AUX. Without rdpid,
// the limit of a segment made for this purpose has the same value: the node, above 12 bits of CPU
// (arch/x86/include/asm/segment.h, vdso_encode_cpunode).
func (c *compiler) cpu(r reg) {
	const segment, mask = 15<<3 | 3, 0xfff
	c.changes(r)
	if c.Target.Features&plan.RDPID != 0 {
		c.put(inst{prefix: 0xf3, op: []byte{0x0f, 0xc7}, reg: 7, rm: is(r)})
	} else {
		c.constant(r, segment)
		c.put(inst{op: []byte{0x0f, 0x03}, reg: r, rm: is(r)}) // lsl
	}
	c.withImm(false, groupAnd, is(r), mask, 0)
}
