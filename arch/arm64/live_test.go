package arm64

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/skip"
)

// Where live tests put their things: literals reach 1 MiB around code.
const (
	liveBase  = arch.Addr(0x7000000000)
	liveSize  = 4 << 20
	liveCode  = liveBase + 2<<20
	liveSlot  = liveBase + 3<<20 + 0x800
	liveStub  = liveBase + 3<<20 + 0x1000
	liveStack = liveBase + 3<<20 + 0x8000
	liveData  = liveBase + 3<<20 + 0x10000
)

func newMapped(t *testing.T) *tracee {
	c := newTracee(t)
	c.mmap(liveBase, liveSize)
	return c
}

func TestLiveSyscall(t *testing.T) {
	c := newMapped(t)
	r := rand.New(rand.NewPCG(13, 14))
	for range 10 {
		regs := liveState(c, r)
		c.setRegs(regs)
		c.regSet(ptraceSetRegSet, ntPRFPReg, randomFP(r))
		// Not SIGKILL and SIGSTOP, and not SIGTRAP: a step unblocks it.
		c.setSigMask(r.Uint64() &^ (1<<8 | 1<<18 | 1<<4))
		if got := c.call(liveStub, nrGetpid); got != uint64(c.pid) {
			t.Errorf("getpid: %d, not %d", got, c.pid)
		}
	}
}

// TestLiveSyscallAltStack wants rt_sigreturn to leave the alternate signal
// stack, of which its frame says nothing, as it is.
func TestLiveSyscallAltStack(t *testing.T) {
	const nrSigaltstack, size = 132, 16384
	c := newMapped(t)
	c.write(liveData, words(liveStack, 0, size))
	if got := c.call(liveStub, nrSigaltstack, uint64(liveData), 0); got != 0 {
		t.Fatalf("sigaltstack: %d", int64(got))
	}
	c.call(liveStub, nrGetpid)
	c.call(liveStub, nrSigaltstack, 0, uint64(liveData+64))
	got := make([]byte, 24)
	c.read(liveData+64, got)
	if !bytes.Equal(got, words(liveStack, 0, size)) {
		t.Errorf("the alternate stack is now % x", got)
	}
}

// liveState is random, but has a stack.
func liveState(c *tracee, r *rand.Rand) arch.Regs {
	regs := randomState(r)
	regs[regPState] |= c.regs()[regPState] &^ (15<<28 | pstateBType)
	regs[regSP] = uint64(liveStack)
	regs[regPC] = uint64(liveCode)
	return regs
}

// randomFP has random vector registers and FPSR's and FPCR's defaults.
func randomFP(r *rand.Rand) []byte {
	fp := make([]byte, fpStateLen)
	for i := range fpRegsLen {
		fp[i] = byte(r.Uint32())
	}
	return fp
}

// outcome is the state of a tracee as far as an instruction can change it.
type outcome struct {
	sig   syscall.Signal
	regs  arch.Regs
	fp    string
	stack string // above the stack pointer, and the 8 bytes below
	data  string
}

// diff says where o and want differ.
func (o outcome) diff(want outcome) string {
	var d strings.Builder
	if o.sig != want.sig {
		fmt.Fprintf(&d, " signal %v for %v", o.sig, want.sig)
	}
	for i, v := range o.regs {
		if v != want.regs[i] {
			fmt.Fprintf(&d, " %s %#x for %#x", regNames[i], v, want.regs[i])
		}
	}
	for _, p := range [][3]string{{"fp", o.fp, want.fp}, {"stack", o.stack, want.stack}, {"data", o.data, want.data}} {
		if p[1] != p[2] {
			fmt.Fprintf(&d, "\n%s %x for\n%x", p[0], p[1], p[2])
		}
	}
	return d.String()
}

func (c *tracee) outcome(sig syscall.Signal) outcome {
	stack, data := make([]byte, 72), make([]byte, 64)
	c.read(liveStack-8, stack)
	c.read(liveData, data)
	regs := c.regs()
	regs[regPState] &^= pstateBType // of a blr is another than of the br in its slot, see TestLiveBTI
	return outcome{sig, regs, string(c.fp()), string(stack), string(data)}
}

// inPlace executes w at liveCode.
func (c *tracee) inPlace(w uint32, regs arch.Regs, fp []byte) outcome {
	c.write(liveCode, bytesOf(w))
	c.setRegs(regs)
	c.regSet(ptraceSetRegSet, ntPRFPReg, fp)
	return c.outcome(c.step())
}

// inSlot executes w in a slot, and compares what each fix shows on the way
// with the states before and after.
func (c *tracee) inSlot(w uint32, regs arch.Regs, fp []byte, before, after outcome) (outcome, error) {
	b := &arch.Buffer{Addr: liveSlot}
	slot, err := ISA.Relocate(b, bytesOf(w), liveCode)
	if err != nil {
		return outcome{}, err
	}
	c.write(liveSlot, b.Code)
	regs[regPC] = uint64(liveSlot)
	c.setRegs(regs)
	c.regSet(ptraceSetRegSet, ntPRFPReg, fp)
	for range len(slot.Fixes) + 1 { // a step over svc stops twice
		sig := c.step()
		got := c.outcome(sig)
		off := got.regs[regPC] - uint64(liveSlot)
		if off >= uint64(slot.Len) {
			return got, nil
		}
		fix := slot.Fixes[off/4]
		shown := c.shown(got, fix)
		want := after
		if fix.Before {
			want = before
			if f := classify(w); f == formLoad && w&31 != zr {
				shown.regs[w&31] = want.regs[w&31]
			}
		}
		want.sig = sig
		if shown != want {
			return got, fmt.Errorf("at %#x shown with%s", off, shown.diff(want))
		}
		if sig != syscall.SIGTRAP {
			return shown, nil
		}
	}
	return outcome{}, fmt.Errorf("does not leave its slot")
}

// shown is what the program is to see of o.
func (c *tracee) shown(o outcome, fix arch.Fix) outcome {
	o.regs[regPC] = uint64(fix.Where(&o.regs))
	if fix.Reg >= 0 {
		v, err := readAddr(func(at arch.Addr, p []byte) error {
			_, err := c.mem.ReadAt(p, int64(at))
			return err
		}, arch.Addr(int64(o.regs[regSP])+int64(fix.RegAt)))
		if err != nil {
			c.Fatal(err)
		}
		o.regs[fix.Reg] = uint64(v)
	}
	o.regs[regSP] += uint64(fix.SP)
	return o
}

// compare executes w in both places from one random state.
func (c *tracee) compare(r *rand.Rand, name string, w uint32, set func(*arch.Regs)) {
	c.Helper()
	regs, fp := liveState(c, r), randomFP(r)
	if set != nil {
		set(&regs)
	}
	stack, data := make([]byte, 128), make([]byte, 64)
	for i := range stack {
		stack[i] = byte(r.Uint32())
	}
	reset := func() {
		c.write(liveStack-64, stack)
		c.write(liveData, data)
		c.setRegs(regs)
		c.regSet(ptraceSetRegSet, ntPRFPReg, fp)
	}
	reset()
	before := c.outcome(0)
	want := c.inPlace(w, regs, fp)
	reset()
	got, err := c.inSlot(w, regs, fp, before, want)
	if err != nil {
		c.Errorf("%s (%08x): %v", name, w, err)
		return
	}
	if got != want {
		c.Errorf("%s (%08x) from %x: in a slot%s", name, w, regs, got.diff(want))
	}
}

// TestLiveRelocate executes random members of each form that is rewritten.
func TestLiveRelocate(t *testing.T) {
	c := newMapped(t)
	r := rand.New(rand.NewPCG(15, 16))
	fill := make([]byte, liveSlot-0x800-liveBase)
	for i := range fill {
		fill[i] = byte(r.Uint32())
	}
	c.write(liveBase, fill)
	n := 25
	if testing.Short() {
		n = 5
	}
	for _, f := range []struct {
		name       string
		bits, free uint32
	}{
		{"adr", 0x10000000, 0x60ffffff},
		{"adrp", 0x90000000, 0x60ffffff},
		{"ldr w", 0x18000000, 0x00ffffff},
		{"ldr x", 0x58000000, 0x00ffffff},
		{"ldrsw", 0x98000000, 0x00ffffff},
		{"prfm", 0xd8000000, 0x00ffffff},
		{"ldr s", 0x1c000000, 0x00ffffff},
		{"ldr d", 0x5c000000, 0x00ffffff},
		{"ldr q", 0x9c000000, 0x00ffffff},
		{"ldr xzr", 0x5800001f, 0x00ffffe0},
		{"b", 0x14000000, 0x00ffffff},
		{"bl", 0x94000000, 0x00ffffff},
		{"b.cond", 0x54000000, 0x00ffffef},
		{"cbz", 0x34000000, 0x81ffffff},
		{"tbz", 0x36000000, 0x81ffffff},
		{"br", 0xd61f0000, 0x000003a0},
		{"blr", 0xd63f0000, 0x000001e0}, // not x30
		{"ret", 0xd65f0000, 0x000003e0},
	} {
		for range n {
			c.compare(r, f.name, f.bits|r.Uint32()&f.free, nil)
		}
	}
}

// TestLiveCopy executes what is copied, and what raises a signal.
func TestLiveCopy(t *testing.T) {
	c := newMapped(t)
	r := rand.New(rand.NewPCG(17, 18))
	toData := func(regs *arch.Regs) { regs[1] = uint64(liveData) }
	for _, tt := range []struct {
		name string
		word uint32
		set  func(*arch.Regs)
	}{
		{"nop", nop, nil},
		{"bti c", 0xd503245f, nil},
		{"paciaz", 0xd503231f, nil}, // a nop where there is no PAC
		{"adds x0, x1, x2", 0xab020020, nil},
		{"str x0, [x1]", 0xf9000020, toData},
		{"stp x29, x30, [sp, #-32]!", 0xa9be7bfd, nil},
		{"ldp x29, x30, [sp], #32", 0xa8c27bfd, nil},
		{"ldxr w0, [x1]", ldxr, toData},
		{"fadd v0.4s, v1.4s, v2.4s", 0x4e22d420, nil},
		{"svc #0: getpid", svc, func(regs *arch.Regs) { regs[regX8] = nrGetpid }},
		{"svc #7: no such call", 0xd40000e1, func(regs *arch.Regs) { regs[regX8] = 9999 }},
		{"udf #0", 0, nil},
		{"hlt #0", 0xd4400000, nil},
		{"ldr x0, [xzr]: fault", 0xf9400020, func(regs *arch.Regs) { regs[1] = 8 }},
	} {
		c.compare(r, tt.name, tt.word, tt.set)
	}
}

// TestLiveAuth signs pointers for the branches that authenticate.
func TestLiveAuth(t *testing.T) {
	c := newMapped(t)
	r := rand.New(rand.NewPCG(21, 22))
	for _, tt := range []struct {
		name       string
		sign, word uint32
		signed     uint32
	}{
		{"braaz x3", 0xdac123e3, 0xd61f087f, 3},     // paciza x3
		{"blrabz x3", 0xdac127e3, 0xd63f0c7f, 3},    // pacizb x3
		{"blraa x3, x4", 0xdac10083, 0xd73f0864, 3}, // pacia x3, x4
		{"blraa x3, sp", 0xdac103e3, 0xd73f087f, 3}, // pacia x3, sp
		{"braa x3, x4", 0xdac10083, 0xd71f0864, 3},
		{"retaa", 0xdac103fe, 0xd65f0bff, 30}, // pacia x30, sp
		{"retab", 0xdac107fe, 0xd65f0fff, 30}, // pacib x30, sp
	} {
		regs := liveState(c, r)
		regs[tt.signed] = uint64(liveCode + 0x1000)
		if o := c.inPlace(tt.sign, regs, randomFP(r)); o.sig == syscall.SIGILL {
			skip.Missing(t, "pointer authentication")
		} else {
			regs[tt.signed] = o.regs[tt.signed]
		}
		regs[regPC] = uint64(liveCode)
		next, err := ISA.Next(bytesOf(tt.word), liveCode, &regs, noMemory)
		if err != nil || next != liveCode+0x1000 {
			t.Errorf("%s: next is %v, %v", tt.name, next, err)
		}
		c.compare(r, tt.name, tt.word, func(r *arch.Regs) { *r = regs })
	}
}

// TestLiveBTI calls and jumps to guarded code from slots, and lets calls run into a planted trap
// there.
func TestLiveBTI(t *testing.T) {
	c := newMapped(t)
	const guarded = liveBase + liveSize
	const rwxBTI, privateFixedAnonymous = 7 | 0x10, 0x100032
	c.call(liveStub, nrMmap, uint64(guarded), 4096, rwxBTI, privateFixedAnonymous, ^uint64(0), 0)
	r := rand.New(rand.NewPCG(23, 24))
	land := func(from arch.Addr, branch, landing uint32) syscall.Signal {
		if from == liveSlot {
			b := &arch.Buffer{Addr: from}
			if _, err := ISA.Relocate(b, bytesOf(branch), guarded+0x100); err != nil {
				t.Fatal(err)
			}
			c.write(from, b.Code)
		} else {
			c.write(from, bytesOf(branch))
		}
		c.write(guarded, bytesOf(landing))
		regs := liveState(c, r)
		regs[3], regs[regPC] = uint64(guarded), uint64(from)
		c.setRegs(regs)
		for arch.Addr(c.regs()[regPC]) != guarded {
			if sig := c.step(); sig != syscall.SIGTRAP {
				t.Fatal(sig)
			}
		}
		return c.step()
	}
	const brX3, blrX3, btiC, btiJ = 0xd61f0060, 0xd63f0060, 0xd503245f, 0xd503249f
	if land(guarded+0x100, blrX3, nop) != syscall.SIGILL {
		skip.Missing(t, "branch target identification")
	}
	if sig := land(guarded+0x100, blrX3, btiC); sig != syscall.SIGTRAP {
		t.Errorf("call of bti c: %v", sig)
	}
	for _, branch := range []uint32{brX3, blrX3} {
		for _, landing := range []uint32{btiC, btiJ, 0xd503233f, trap} { // and paciasp
			if sig := land(liveSlot, branch, landing); sig != syscall.SIGTRAP {
				t.Errorf("%08x in a slot to %08x: %v", branch, landing, sig)
			}
		}
		if sig := land(guarded+0x100, branch, trap); sig != syscall.SIGTRAP || arch.Addr(c.regs()[regPC]) != guarded {
			t.Errorf("%08x to our trap: %v", branch, sig)
		}
	}
	if sig := land(guarded+0x100, blrX3, trap); sig != syscall.SIGTRAP || c.regs()[regPState]&pstateBType == 0 {
		t.Errorf("at our trap: %v, pstate %#x", sig, c.regs()[regPState])
	}
}

// TestLiveExclusive runs a loop with its ldxr in a slot: a jump, unlike a
// trap, leaves the monitor alone.
func TestLiveExclusive(t *testing.T) {
	c := newMapped(t)
	b := &arch.Buffer{Addr: liveSlot}
	if _, err := ISA.Relocate(b, bytesOf(ldxr), liveCode); err != nil {
		t.Fatal(err)
	}
	c.write(liveSlot, b.Code)
	c.write(liveCode, bytesOf(encBranch(int64(liveSlot-liveCode)), add, stxr, cbnz(-3), trap))
	regs := liveState(c, rand.New(rand.NewPCG(19, 20)))
	regs[1] = uint64(liveData)
	c.setRegs(regs)
	c.ptrace(ptraceCont, 0, 0)
	c.wantStop(syscall.SIGTRAP)
	var got [4]byte
	c.read(liveData, got[:])
	if pc := arch.Addr(c.regs()[regPC]); pc != liveCode+16 || !bytes.Equal(got[:], []byte{1, 0, 0, 0}) {
		t.Errorf("at %v with %x", pc, got)
	}
}
