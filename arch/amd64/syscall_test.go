package amd64

import (
	"testing"

	"github.com/ptracer/ptracer/arch"
)

func TestRestarted(t *testing.T) {
	errno := func(n int64) uint64 { return uint64(-n) }
	for _, c := range []struct {
		name             string
		orig, rax        uint64
		wantRAX, wantRIP uint64
		wantOrig         uint64
	}{
		{"no system call", noSyscall, errno(512), errno(512), 0x1000, noSyscall},
		{"done", 0, 5, 5, 0x1000, noSyscall},
		{"failed", 0, errno(4), errno(4), 0x1000, noSyscall},
		{"ERESTARTSYS", 35, errno(512), 35, 0xffe, noSyscall},
		{"ERESTARTNOINTR", 35, errno(513), 35, 0xffe, noSyscall},
		{"ERESTARTNOHAND", 35, errno(514), 35, 0xffe, noSyscall},
		{"ENOIOCTLCMD", 35, errno(515), errno(515), 0x1000, noSyscall},
		{"ERESTART_RESTARTBLOCK", 35, errno(516), 219, 0xffe, noSyscall},
	} {
		var r arch.Regs
		r[regOrigRAX], r[regRAX], r[regRIP], r[regRBX] = c.orig, c.rax, 0x1000, 7
		got := ISA.Restarted(&r)
		if got[regRAX] != c.wantRAX || got[regRIP] != c.wantRIP || got[regOrigRAX] != c.wantOrig || got[regRBX] != 7 {
			t.Errorf("%s: rax %d, rip %#x, orig_rax %d", c.name, int64(got[regRAX]), got[regRIP], int64(got[regOrigRAX]))
		}
	}
}

// TestSyscallCode checks where the stub returns to; the sandbox tests show its effect.
func TestSyscallCode(t *testing.T) {
	var st arch.CallState
	st.Regs[regOrigRAX], st.Regs[regRIP] = 35, 0x1002
	st.Regs[regRAX] = ^uint64(511)
	b := arch.Buffer{Addr: 0x7003}
	entry, err := ISA.SyscallCode(&b, &st, 9, [6]uint64{1, 2, 3, 4, 5, 6})
	if err != nil || len(b.Code) > 128 {
		t.Fatalf("%d bytes, %v", len(b.Code), err)
	}
	if entry[regRIP] != 0x7003 || entry[regRAX] != 9 || entry[regR10] != 4 || entry[regOrigRAX] != noSyscall {
		t.Errorf("starts with %x", entry)
	}
	end := arch.Addr(len(b.Code) - 8)
	if got := b.Code[end]; got != 0 { // back on the interrupted instruction
		t.Errorf("goes on at ...%02x", got)
	}
}

// TestNextSigreturn reads where the signal frame leads.
func TestNextSigreturn(t *testing.T) {
	var r arch.Regs
	r[regRAX], r[regRSP] = sysRTSigreturn, 0x5000
	read := func(at arch.Addr, p []byte) error {
		if at == 0x5000+168 {
			p[1] = 0x77
		}
		return nil
	}
	if got, err := ISA.Next([]byte("\x0f\x05"), 0x1000, &r, read); err != nil || got != 0x7700 {
		t.Errorf("%v, %v", got, err)
	}
	r[regRAX] = 1
	if got, err := ISA.Next([]byte("\x0f\x05"), 0x1000, &r, read); err != nil || got != 0x1002 {
		t.Errorf("%v, %v", got, err)
	}
}
