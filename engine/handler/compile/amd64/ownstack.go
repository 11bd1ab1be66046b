package amd64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
)

// Ptracer's stacks. A thread's entry in the table of threads has the end of the free part of its
// stack (ThreadStack). The code uses a few words of the program's stack to find it: for three
// registers and the flags.
//
// A signal handler may reach a probe while its thread runs on such a stack. It takes the next
// level, and releases that before the thread continues.

// Offsets of the program's registers that are saved on its own stack meanwhile, in bytes from the
// stack pointer.
const (
	savedRAX   = 0
	savedR10   = 8
	savedR11   = 16
	savedFlags = 24
)

// Contents of the end of a level of such a stack, in bytes from the stack pointer that the frame
// begins below.
const (
	levelEntry = 0 // the thread's entry
	levelOld   = 8 // the program's stack pointer, minus the size saved there
	levelSize  = 16
)

// enterOwn switches to ptracer's stack. If the thread has none it continues behind all the code,
// which is behind bytes from the end of this.
func (a *way) enterOwn(behind int) {
	found, slow, full, skip, done := a.NewLabel(), a.NewLabel(), a.NewLabel(), a.NewLabel(), a.NewLabel()
	a.moveStack(-plan.OwnStackSaved)
	a.store(rax, at(rsp, savedRAX))
	a.store(r10, at(rsp, savedR10))
	a.store(r11, at(rsp, savedR11))
	if a.way.Flags {
		a.getFlags()
		a.store(rax, at(rsp, savedFlags))
	}
	a.bytes(0xf3, 0x48, 0x0f, 0xae, 0xc0) // rdfsbase rax
	mul := uint32(plan.ThreadMul)
	a.put(inst{op: []byte{0x69}, reg: r11, rm: is(rax), imm: int64(int32(mul)), immLen: 4})
	a.put(inst{op: shiftBy, reg: 5, rm: is(r11), imm: 32 - plan.ThreadBits, immLen: 1})
	a.put(inst{op: shiftBy, reg: 4, rm: is(r11), imm: int64(shiftOf(plan.ThreadEntry)), immLen: 1})
	a.constant(r10, int64(a.way.Own.Threads+plan.ThreadFirst))
	a.put(inst{wide: true, op: []byte{0x01}, reg: r10, rm: is(r11)})
	a.put(inst{wide: true, op: cmp, reg: rax, rm: at(r11, 0)})
	a.jump(ifNot, slow)
	a.Label(found)
	a.load(r10, at(r11, plan.ThreadStack))
	a.put(inst{wide: true, op: test, reg: r10, rm: is(r10)})
	a.jump(ifEqual, slow)
	a.put(inst{op: movTo, reg: r10, rm: is(rax)})
	a.withImm(false, groupAnd, is(rax), plan.OwnStackSize-1, 0)
	a.withImm(false, groupCmp, is(rax), plan.OwnStackLevel, 0)
	a.jump(ifEqual, full)
	a.put(inst{wide: true, op: lea, reg: rax, rm: at(r10, -plan.OwnStackLevel)})
	a.store(rax, at(r11, plan.ThreadStack))
	a.store(rsp, at(r10, levelOld-levelSize))
	a.store(r11, at(r10, levelEntry-levelSize))
	a.put(inst{wide: true, op: lea, reg: rsp, rm: at(r10, -levelSize)})
	a.load(r10, at(rsp, levelOld))
	a.load(rax, at(r10, savedRAX))
	a.load(r11, at(r10, savedR11))
	a.load(r10, at(r10, savedR10))
	a.jump(always, done)

	a.Label(slow)
	back := a.NewLabel()
	a.leaR10(back)
	a.jumpTo(a.way.Own.Enter + enterClaim)
	a.Label(back)
	a.put(inst{wide: true, op: test, reg: r11, rm: is(r11)})
	a.jump(ifNot, found)
	a.jump(always, skip)
	a.Label(full)
	a.leaR10(skip)
	a.jumpTo(a.way.Own.Enter)
	a.Label(skip)
	a.leaveSaved()
	a.bytes(0xe9)
	end := a.NewLabel()
	a.distance(end, 4)
	a.Label(done)
	a.Labels[end] = len(a.Code) + behind
}

// leaveOwn switches back to the program's stack.
func (a *way) leaveOwn() {
	a.load(r11, at(rsp, levelEntry))
	a.put(inst{wide: true, op: lea, reg: r10, rm: at(rsp, levelSize)})
	a.store(r10, at(r11, plan.ThreadStack))
	a.load(rsp, at(rsp, levelOld))
	a.leaveSaved()
}

// leaveSaved restores the registers saved on the program's stack.
func (a *way) leaveSaved() {
	if a.way.Flags {
		a.load(rax, at(rsp, savedFlags))
		a.setFlags()
	}
	a.load(rax, at(rsp, savedRAX))
	a.load(r10, at(rsp, savedR10))
	a.load(r11, at(rsp, savedR11))
	a.moveStack(plan.OwnStackSaved)
}

// leaR10 sets r10 to the address of a label.
func (a *way) leaR10(label int) {
	a.bytes(0x4c, 0x8d, 0x15)
	a.distance(label, 4)
}

// jumpTo jumps to an address; it clobbers r11.
func (a *way) jumpTo(addr arch.Addr) {
	a.constant(r11, int64(addr))
	a.bytes(0x41, 0xff, 0xe3) // jmp *r11
}

// enterClaim is the offset at which Enter's code finds a stack; before it is the code that only
// counts a hit without a stack.
const enterClaim = 32

// Enter: see package compile. The address to continue at is in r10; r11 returns the entry, 0 if
// there is none. rax and the flags are clobbered. The thread has no stack for a call, so it uses
// the room's, one thread at a time: other threads wait their turn, some milliseconds at most.
func Enter(base, wrapper, room, lost arch.Addr) []byte {
	const lock, oldSP, back, rounds = 0, 8, 16, 1 << 20
	var b []byte
	constant := func(code []byte, v arch.Addr) { b = binary.LittleEndian.AppendUint64(append(b, code...), uint64(v)) }
	constant([]byte{0x49, 0xbb}, lost)                      // mov $lost, r11
	b = append(b, 0xf0, 0x49, 0xff, 0x03, 0x45, 0x31, 0xdb) // lock incq (r11); xor r11d, r11d
	b = append(b, 0x41, 0xff, 0xe2)                         // jmp *r10
	for len(b) < enterClaim {
		b = append(b, 0xcc)
	}
	constant([]byte{0x49, 0xbb}, room) // mov $room, r11
	b = binary.LittleEndian.AppendUint32(append(b, 0xb8), rounds)
	again := len(b)
	b = append(b, 0xf0, 0x41, 0x0f, 0xba, 0x6b, lock, 0x00) // lock btsl $0, lock(r11)
	b = append(b, 0x73, 0)                                  // jnc got
	got := len(b)
	b = append(b, 0xf3, 0x90, 0xff, 0xc8) // pause; dec eax
	b = append(b, 0x75, byte(again-len(b)-2))
	b = append(b, 0xeb, byte(-len(b)-2)) // to the start
	b[got-1] = byte(len(b) - got)
	b = append(b, 0x49, 0x89, 0x63, oldSP, 0x4d, 0x89, 0x53, back) // mov rsp, r10
	b = append(b, 0x49, 0x8d, 0xa3)
	b = binary.LittleEndian.AppendUint32(b, plan.OwnStackSize) // lea size(r11), rsp
	b = append(b, 0xe8)
	b = binary.LittleEndian.AppendUint32(b, uint32(int64(wrapper)-int64(base)-int64(len(b))-4))
	constant([]byte{0x48, 0xb8}, room)                             // mov $room, rax
	b = append(b, 0x4c, 0x8b, 0x50, back, 0x48, 0x8b, 0x60, oldSP) // mov r10, rsp
	b = append(b, 0xc7, 0x40, lock, 0, 0, 0, 0)                    // movl $0, lock(rax)
	return append(b, 0x41, 0xff, 0xe2)                             // jmp *r10
}
