package arm64

import (
	"encoding/binary"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// movz is mov xREG, #imm.
func movz(reg uint32, imm uint16) uint32 { return 0xd2800000 | uint32(imm)<<5 | reg }

// Programs end with a status that says which path they took.
var (
	exit42   = []uint32{movz(0, 42), movz(8, nrExitGroup), svc}
	exit7    = []uint32{movz(0, 7), movz(8, nrExitGroup), svc}
	sendTrap = []uint32{
		movz(8, nrGetpid), svc, 0xaa0003e9, // mov x9, x0
		movz(8, 178), svc, 0xaa0003e1, 0xaa0903e0, // gettid; mov x1, x0; mov x0, x9
		movz(2, 5), movz(8, nrTgkill), svc,
	}
	// oldHandler continues behind the trap if signal, siginfo and ucontext are in their places;
	// otherwise it exits with 3.
	oldHandler = []uint32{
		0x7100141f, 0x54000101, // cmp w0, #5; b.ne bad
		0xb9400023, 0x7100147f, 0x540000a1, // ldr w3, [x1]; cmp w3, #5; b.ne bad
		0xf940dc44, 0x91001084, 0xf900dc44, // ldr x4, [x2, #440]; add x4, x4, #4; str
		0xd65f03c0, // ret
		movz(0, 3), movz(8, nrExitGroup), svc,
	}
)

const (
	liveGuard = liveBase + 3<<20 + 0x20000
	liveChunk = liveBase + 3<<20 + 0x21000
	liveOld   = liveBase + 3<<20 + 0x22000
)

func words(values ...arch.Addr) []byte {
	var p []byte
	for _, v := range values {
		p = binary.LittleEndian.AppendUint64(p, uint64(v))
	}
	return p
}

// guarded is a tracee with the guard as its SIGTRAP handler, and the site
// liveCode in the second of two chunks.
func guarded(t *testing.T, old, swallow arch.Addr) *tracee {
	c := newMapped(t)
	g := ISA.Guard()
	c.write(liveGuard, g.Code)
	header := words(liveChunk, old, 0, 0, swallow)
	c.write(liveGuard+arch.Addr(g.Header), header)
	second := liveChunk + 0x100
	c.write(liveChunk, words(second, 1, liveCode+0x10000, 0))
	c.write(second, words(0, 3, 0, 0, 0x1234, 0, liveCode, liveSlot))
	c.write(liveOld, bytesOf(oldHandler...))

	const siginfoRestorer = 4 | 0x04000000
	c.write(liveData, words(liveGuard+arch.Addr(g.Handler), siginfoRestorer, liveGuard+arch.Addr(g.Restorer), 0))
	if got := c.call(liveStub, nrSigaction, 5, uint64(liveData), 0, 8); got != 0 {
		t.Fatalf("rt_sigaction: %d", int64(got))
	}
	return c
}

// run detaches from the tracee, which runs from liveCode to its end.
func (c *tracee) run(code, slot []uint32) syscall.WaitStatus {
	c.write(liveCode, bytesOf(code...))
	c.write(liveSlot, bytesOf(slot...))
	regs := c.regs()
	regs[regPC], regs[regSP] = uint64(liveCode), uint64(liveStack)
	c.setRegs(regs)
	c.setSigMask(0)
	c.ptrace(ptraceDetach, 0, 0)
	return c.wait()
}

func TestLiveGuard(t *testing.T) {
	program := func(parts ...[]uint32) (code []uint32) {
		for _, p := range parts {
			code = append(code, p...)
		}
		return code
	}
	ours := []uint32{trap}
	foreign := []uint32{nop, trap} // no entry has the second instruction
	for _, tt := range []struct {
		name    string
		code    []uint32
		old     arch.Addr
		swallow arch.Addr
		exit    int // or
		killed  bool
	}{
		{"ours", program(ours, exit7), 0, 0, 42, false},
		{"ours, program has a handler", program(ours, exit7), liveOld, 0, 42, false},
		{"foreign, default", program(foreign, exit7), 0, 0, 0, true},
		{"foreign, default, swallowing", program(foreign, exit7), 0, 1, 0, true},
		{"foreign, ignored", program(foreign, exit7), 1, 0, 0, true},
		{"foreign, handled", program(foreign, exit7), liveOld, 0, 7, false},
		{"foreign, handled, swallowing", program(foreign, exit7), liveOld, 1, 7, false},
		{"sent, default", program([]uint32{nop}, sendTrap, exit7), 0, 0, 0, true},
		{"sent, ignored", program([]uint32{nop}, sendTrap, exit7), 1, 0, 7, false},
		{"sent, handled", program([]uint32{nop}, sendTrap, []uint32{0, 0}, exit7), liveOld, 0, 7, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "sent, handled" {
				tt.code[len(sendTrap)+1] = nop // oldHandler skips one
				tt.code[len(sendTrap)+2] = nop
			}
			s := guarded(t, tt.old, tt.swallow).run(tt.code, exit42)
			switch {
			case tt.killed:
				if !s.Signaled() || s.Signal() != syscall.SIGTRAP {
					t.Errorf("ends with %#x, not killed by SIGTRAP", uint32(s))
				}
			case !s.Exited() || s.ExitStatus() != tt.exit:
				t.Errorf("ends with %#x, not exit %d", uint32(s), tt.exit)
			}
		})
	}
}

// TestLiveGuardHardware leaves a hardware breakpoint set.
func TestLiveGuardHardware(t *testing.T) {
	c := guarded(t, 0, 1)
	const enabledUser4 = 0xf<<5 | 2<<1 | 1 // byte address select, EL0, enable
	c.regSet(ptraceSetRegSet, ntARMHWBreak, words(0, liveCode, enabledUser4))
	if s := c.run(append([]uint32{nop}, exit7...), exit42); !s.Exited() || s.ExitStatus() != 42 {
		t.Errorf("ends with %#x, not exit 42", uint32(s))
	}
}
