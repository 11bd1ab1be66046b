package arm64

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/skip"
)

// TestFrameLayout lets a C compiler compare the constants with the kernel's own headers.
func TestFrameLayout(t *testing.T) {
	const gcc = "aarch64-linux-gnu-gcc"
	if _, err := exec.LookPath(gcc); err != nil {
		skip.Missing(t, gcc)
	}
	src := `
#include <stddef.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>
#include <asm/ptrace.h>
#include <asm/unistd.h>
struct rt_sigframe { siginfo_t info; struct ucontext uc; };
#define IS(ours, theirs) _Static_assert((ours) == (theirs), #theirs);
`
	for theirs, ours := range map[string]int{
		"offsetof(struct rt_sigframe, uc)":                        frameContext,
		"offsetof(struct rt_sigframe, uc.uc_sigmask)":             frameSigMask,
		"offsetof(struct rt_sigframe, uc.uc_mcontext)":            frameMachine,
		"offsetof(struct rt_sigframe, uc.uc_mcontext.regs)":       frameRegs,
		"offsetof(struct rt_sigframe, uc.uc_mcontext.pc)":         framePC,
		"offsetof(struct rt_sigframe, uc.uc_mcontext.pstate)":     frameRegs + 8*regPState,
		"offsetof(struct rt_sigframe, uc.uc_mcontext.__reserved)": frameRecords,
		"sizeof(struct fpsimd_context)":                           fpRecordLen,
		"offsetof(struct fpsimd_context, fpsr)":                   8,
		"offsetof(struct fpsimd_context, vregs)":                  16,
		"FPSIMD_MAGIC":                                            fpRecordMagic,
		"sizeof(struct user_fpsimd_state)":                        fpStateLen,
		"offsetof(struct user_fpsimd_state, fpsr)":                fpRegsLen,
		"sizeof(struct user_pt_regs)":                             8 * numRegs,
		"offsetof(struct user_pt_regs, pc)":                       8 * regPC,
		"offsetof(struct user_pt_regs, sp)":                       8 * regSP,
		"__NR_rt_sigreturn":                                       nrSigreturn,
		"PSR_N_BIT":                                               flagN,
		"PSR_Z_BIT":                                               flagZ,
		"PSR_C_BIT":                                               flagC,
		"PSR_V_BIT":                                               flagV,
		"PSR_BTYPE_MASK":                                          pstateBType,
	} {
		src += fmt.Sprintf("IS(%#xu, %s)\n", ours, theirs)
	}
	file := filepath.Join(t.TempDir(), "frame.c")
	if err := os.WriteFile(file, []byte(src), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gcc, "-fsyntax-only", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSyscallCode(t *testing.T) {
	st := arch.CallState{SigMask: 0x1122334455667788, FP: make([]byte, fpStateLen)}
	for i := range st.Regs {
		st.Regs[i] = uint64(1000 + i)
	}
	st.Regs[regPState] = flagN | 2<<10
	for i := range st.FP {
		st.FP[i] = byte(i * 7)
	}
	b := &arch.Buffer{Addr: 0x10008}
	regs, err := ISA.SyscallCode(b, &st, 222, [6]uint64{1, 2, 3, 4, 5, 6})
	if err != nil {
		t.Fatal(err)
	}
	const start = 0x10010
	if len(b.Code) > 8+1300 {
		t.Errorf("%d bytes", len(b.Code))
	}
	for i, want := range st.Regs {
		switch {
		case i < 6:
			want = uint64(i + 1)
		case i == regX8:
			want = 222
		case i == regPC, i == regSP:
			want = start
		case i == regPState:
			want = flagN
		}
		if regs[i] != want {
			t.Errorf("word %d starts as %#x", i, regs[i])
		}
	}
	frame := b.Code[start-0x10008:]
	if !bytes.Equal(frame[:12], bytesOf(0xd4000001, 0xd2801168, 0xd4000001)) {
		t.Errorf("code % x", frame[:12])
	}
	for i, want := range st.Regs {
		if got := binary.LittleEndian.Uint64(frame[frameRegs+8*i:]); got != want {
			t.Errorf("word %d ends as %#x", i, got)
		}
	}
	if got := binary.LittleEndian.Uint64(frame[frameSigMask:]); got != st.SigMask {
		t.Errorf("mask %#x", got)
	}
	if fp := frame[frameRecords:]; !bytes.Equal(fp[16:528], st.FP[:512]) || !bytes.Equal(fp[8:16], st.FP[512:520]) {
		t.Error("vector registers differ")
	}
	if !bytes.Equal(frame[frameEmpty:], make([]byte, 16)) {
		t.Error("no empty record at the end")
	}
}

func TestSyscallCodeErrors(t *testing.T) {
	b := &arch.Buffer{}
	if _, err := ISA.SyscallCode(b, &arch.CallState{}, 1, [6]uint64{}); !errors.Is(err, errState) || len(b.Code) != 0 {
		t.Errorf("without vector registers: %v, %d bytes", err, len(b.Code))
	}
}
