package target

import "strconv"

// Site is a place to probe, in a function with no other purpose: the cost of a probe depends on the
// instruction that it lies on.
type Site struct {
	Class string // the kind of place; the same on all CPUs
	Insn  string // the instruction there
	// Func is the function's name. The function is at Entry, the place is at Addr, Off bytes behind
	// it.
	Func        string
	Entry, Addr uint64
	Off         int
	PerCall     int // how often a call of the function reaches it
	// Resume is an address where a thread can continue instead of at Addr: the same instruction is
	// there, and leads back.
	Resume uint64
	// Jump is a jump that can be written at JumpAt: to code that counts (see Process.Patched),
	// executes the displaced instructions, and jumps back.
	JumpAt uint64
	Jump   []byte
}

// Location returns the place in the form that a tracer's user types.
func (s Site) Location() string {
	if s.Off == 0 {
		return s.Func
	}
	return s.Func + "+" + strconv.Itoa(s.Off)
}

// Missing is a class of places that a CPU does not have.
type Missing struct{ Class, Why string }

// siteCode is a site's function in parts. A jump at the probed instruction displaces moved, too. If
// moved is empty and nothing follows, the jump displaces the head instead. Nil parts are empty.
type siteCode struct {
	class, insn               string
	perCall                   int
	head, probed, moved, rest func()
}

// write writes the function, the code at Resume, and the code for a jump.
func (c siteCode) write(a *assembler) {
	part := func(f func()) {
		if f != nil {
			f()
		}
	}
	name, falls := c.class, c.rest != nil
	a.fn("hit_"+name, 64, func() {
		part(c.head)
		a.here(name + " site")
		c.probed()
		a.here(name + " behind")
		part(c.moved)
		a.here(name + " rest")
		part(c.rest)
	})
	a.fn("slot_"+name, 64, func() {
		c.probed()
		if falls {
			a.jumpBack(name + " behind")
		}
	})
	a.fn("jump_"+name, 64, func() {
		if !falls {
			part(c.head)
		}
		a.increment(offPatched)
		c.probed()
		if falls {
			part(c.moved)
			a.jump(name + " rest")
		}
	})
}

// site returns the addresses of the code that write has written.
func (c siteCode) site(a *assembler) Site {
	s := Site{Class: c.class, Insn: c.insn, Func: "hit_" + c.class, PerCall: max(c.perCall, 1),
		Entry: a.addr("hit_" + c.class), Addr: a.addr(c.class + " site"), Resume: a.addr("slot_" + c.class)}
	s.Off = int(s.Addr - s.Entry)
	s.JumpAt = s.Addr
	if c.rest == nil {
		s.JumpAt = s.Entry
	}
	s.Jump = a.jumpFrom(s.JumpAt, a.addr("jump_"+c.class))
	return s
}

// sites are the places to probe on x86-64.
func (s amd64) sites() []siteCode {
	code := func(b ...byte) func() { return func() { s.a.bytes(b...) } }
	lea := []byte{0x48, 0x8d, 0x04, 0x7f} // lea (%rdi,%rdi,2), %rax
	leaRet := func() { s.a.bytes(lea...); s.ret() }
	leaf := func() { s.a.bytes(0xe8); s.relative("leaf") }
	return []siteCode{
		{class: "nop5", insn: "nopl 0(%rax,%rax)", probed: code(0x0f, 0x1f, 0x44, 0, 0), rest: leaRet},
		{class: "nop", insn: "nop", probed: code(0x90), moved: code(lea...), rest: leaRet},
		{class: "push", insn: "push %rbx", probed: code(0x53), moved: code(lea...), rest: code(0x5b, 0xc3)},
		{class: "endbr64", insn: "endbr64", probed: code(0xf3, 0x0f, 0x1e, 0xfa), moved: code(lea...), rest: s.ret},
		{class: "lea", insn: "lea (%rdi,%rdi,2), %rax", probed: code(lea...), moved: code(lea...), rest: s.ret},
		{class: "sub", insn: "sub $24, %rsp", probed: code(0x48, 0x83, 0xec, 24), moved: code(lea...),
			rest: code(0x48, 0x83, 0xc4, 24, 0xc3)},
		{class: "cmp", insn: "cmp 16(%r14), %rsp", probed: code(0x49, 0x3b, 0x66, 0x10), moved: code(lea...), rest: s.ret},
		{class: "call", insn: "call leaf", probed: leaf, rest: s.ret},
		{class: "ret", insn: "ret", head: func() { s.a.bytes(lea...); s.a.bytes(lea...) }, probed: s.ret},
		{class: "loop", insn: "add %rdi, %rdx", perCall: loops,
			head:   func() { s.a.bytes(0xb9, loops, 0, 0, 0); s.a.here("top"); s.a.bytes(0x48, 0xff, 0xc0) }, // mov, inc %rax
			probed: code(0x48, 0x01, 0xfa), moved: code(lea...),
			rest: func() { s.a.bytes(0xff, 0xc9); s.branchNotZero("top"); s.ret() }}, // dec %ecx
	}
}

// loops is how often a call of the function with a loop reaches the place in the loop.
const loops = 8

func (s amd64) missing() []Missing { return nil }

// ordinary writes the body of a function as compilers generate it.
func (s amd64) ordinary() {
	// push %rbp; mov %rsp, %rbp; lea (%rdi,%rdi,2), %rax; pop %rbp; ret
	s.a.bytes(0x55, 0x48, 0x89, 0xe5, 0x48, 0x8d, 0x04, 0x7f, 0x5d, 0xc3)
}

// sites are the places to probe on arm64, where a jump displaces one instruction.
func (s arm64) sites() []siteCode {
	code := func(list ...uint32) func() {
		return func() {
			for _, w := range list {
				s.a.word(w)
			}
		}
	}
	const (
		ret  = 0xd65f03c0
		add  = 0x8b000400 // add x0, x0, x0, lsl #1
		push = 0xa9bf7bfd // stp x29, x30, [sp, #-16]!
		pop  = 0xa8c17bfd // ldp x29, x30, [sp], #16
	)
	leaf := func() { s.refer(0x94000000, branch26, "leaf") }
	return []siteCode{
		{class: "nop", insn: "nop", probed: code(0xd503201f), rest: code(add, ret)},
		{class: "push", insn: "stp x29, x30, [sp, #-16]!", probed: code(push), rest: code(add, pop, ret)},
		{class: "endbr64", insn: "bti c", probed: code(0xd503245f), rest: code(add, ret)},
		{class: "lea", insn: "add x0, x0, x0, lsl #1", probed: code(add), rest: code(ret)},
		{class: "sub", insn: "sub sp, sp, #32", probed: code(0xd10083ff), rest: code(add, 0x910083ff, ret)},
		{class: "cmp", insn: "ldr x16, [x28, #16]", probed: code(0xf9400b90), rest: code(add, ret)},
		{class: "call", insn: "bl leaf", head: code(push), probed: leaf, rest: code(pop, ret)},
		{class: "ret", insn: "ret", head: code(add, add), probed: code(ret)},
		{class: "loop", insn: "add x1, x1, x0", perCall: loops,
			head:   func() { s.a.word(0xd2800109); s.a.here("top"); s.a.word(0x91000400) },                    // mov x9, #8; add x0, x0, #1
			probed: code(0x8b000021), rest: func() { s.a.word(0xf1000529); s.branchNotZero("top"); s.ret() }}, // subs x9, x9, #1
	}
}

func (s arm64) missing() []Missing {
	return []Missing{{"nop5", "arm64 has no nop of five bytes: all instructions have four"}}
}

// ordinary writes the body of a function as compilers generate it.
func (s arm64) ordinary() {
	// stp x29, x30, [sp, #-16]!; mov x29, sp; add x0, x0, x0, lsl #1; ldp x29, x30, [sp], #16; ret
	for _, w := range []uint32{0xa9bf7bfd, 0x910003fd, 0x8b000400, 0xa8c17bfd, 0xd65f03c0} {
		s.a.word(w)
	}
}
