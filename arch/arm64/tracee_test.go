package arm64

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/internal/skip"
)

func TestMain(m *testing.M) { leak.Main(m) }

// Numbers of ptrace(2), elf.h and asm-generic.
const (
	ptraceCont       = 7
	ptraceSingleStep = 9
	ptraceDetach     = 17
	ptraceSyscall    = 24
	ptraceGetRegSet  = 0x4204
	ptraceSetRegSet  = 0x4205
	ptraceGetSigMask = 0x420a
	ptraceSetSigMask = 0x420b

	ntPRStatus   = 1
	ntPRFPReg    = 2
	ntARMHWBreak = 0x402

	nrExitGroup = 94
	nrTgkill    = 131
	nrSigaction = 134
	nrGetpid    = 172
	nrMmap      = 222
)

// tracee is a process stopped before its first instruction, that never executes anything but what
// the tests write; its program is this test binary. The thread that made it must call its methods.
type tracee struct {
	testing.TB
	pid int
	mem *os.File
}

func newTracee(t testing.TB) *tracee {
	t.Helper()
	if runtime.GOARCH != "arm64" {
		skip.Missing(t, "arm64 CPU with ptrace")
	}
	runtime.LockOSThread()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"tracee"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &tracee{TB: t, pid: pid}
	t.Cleanup(c.end)
	c.wantStop(syscall.SIGTRAP)
	if c.mem, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *tracee) end() {
	if c.pid != 0 {
		syscall.Kill(c.pid, syscall.SIGKILL)
		syscall.Wait4(c.pid, nil, 0, nil)
	}
	if c.mem != nil {
		c.mem.Close()
	}
	runtime.UnlockOSThread()
}

// wait waits for at most 20 s: the emulated machine is slow.
func (c *tracee) wait() syscall.WaitStatus {
	c.Helper()
	watchdog := time.AfterFunc(20*time.Second, func() { syscall.Kill(c.pid, syscall.SIGKILL) })
	defer watchdog.Stop()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(c.pid, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			c.Fatal("wait4:", err)
		}
		if status.Exited() || status.Signaled() {
			c.pid = 0
		}
		return status
	}
}

func (c *tracee) wantStop(sig syscall.Signal) {
	c.Helper()
	if s := c.wait(); !s.Stopped() || s.StopSignal() != sig {
		c.Fatalf("stop is %#x, not by %v", uint32(s), sig)
	}
}

func (c *tracee) ptrace(request int, addr, data uintptr) {
	c.Helper()
	if _, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, uintptr(request), uintptr(c.pid), addr, data, 0, 0); errno != 0 {
		c.Fatalf("ptrace %#x: %v", request, errno)
	}
}

// ptraceAt is ptrace with memory of this process.
func (c *tracee) ptraceAt(request int, addr uintptr, data unsafe.Pointer) {
	c.Helper()
	if _, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, uintptr(request), uintptr(c.pid), addr, uintptr(data), 0, 0); errno != 0 {
		c.Fatalf("ptrace %#x: %v", request, errno)
	}
}

// regSet reads or writes a register set.
func (c *tracee) regSet(request int, set uintptr, buf []byte) {
	c.Helper()
	iov := syscall.Iovec{Base: &buf[0]}
	iov.SetLen(len(buf))
	c.ptraceAt(request, set, unsafe.Pointer(&iov))
}

func (c *tracee) regs() (r arch.Regs) {
	c.Helper()
	var buf [8 * numRegs]byte
	c.regSet(ptraceGetRegSet, ntPRStatus, buf[:])
	for i := range r {
		r[i] = binary.LittleEndian.Uint64(buf[8*i:])
	}
	// SS stays from a step, and SSBS is the scheduler's (spectre_v4_enable_task_mitigation).
	r[regPState] &^= 1<<21 | 1<<12
	return r
}

func (c *tracee) setRegs(r arch.Regs) {
	c.Helper()
	var buf []byte
	for _, v := range r {
		buf = binary.LittleEndian.AppendUint64(buf, v)
	}
	c.regSet(ptraceSetRegSet, ntPRStatus, buf)
}

func (c *tracee) fp() []byte {
	c.Helper()
	buf := make([]byte, fpStateLen)
	c.regSet(ptraceGetRegSet, ntPRFPReg, buf)
	return buf
}

func (c *tracee) sigMask() (mask uint64) {
	c.Helper()
	c.ptraceAt(ptraceGetSigMask, 8, unsafe.Pointer(&mask))
	return mask
}

func (c *tracee) setSigMask(mask uint64) {
	c.Helper()
	c.ptraceAt(ptraceSetSigMask, 8, unsafe.Pointer(&mask))
}

func (c *tracee) write(at arch.Addr, p []byte) {
	c.Helper()
	if _, err := c.mem.WriteAt(p, int64(at)); err != nil {
		c.Fatal(err)
	}
}

func (c *tracee) read(at arch.Addr, p []byte) {
	c.Helper()
	if _, err := c.mem.ReadAt(p, int64(at)); err != nil {
		c.Fatal(err)
	}
}

func (c *tracee) step() syscall.Signal {
	c.Helper()
	c.ptrace(ptraceSingleStep, 0, 0)
	s := c.wait()
	if !s.Stopped() {
		c.Fatalf("step ends in %#x", uint32(s))
	}
	return s.StopSignal()
}

// call makes a system call through SyscallCode, with the stub at scratch, and lets the stub restore
// the state by itself; it checks that the stub does.
func (c *tracee) call(scratch arch.Addr, nr uint64, args ...uint64) uint64 {
	c.Helper()
	st := arch.CallState{Regs: c.regs(), FP: c.fp(), SigMask: c.sigMask()}
	var six [6]uint64
	copy(six[:], args)
	b := &arch.Buffer{Addr: scratch}
	regs, err := ISA.SyscallCode(b, &st, nr, six)
	if err != nil {
		c.Fatal(err)
	}
	c.setSigMask(^uint64(0))
	c.write(scratch, b.Code)
	c.setRegs(regs)
	var result arch.Regs
	for i := range 3 { // entry and exit of the call, entry of rt_sigreturn
		c.ptrace(ptraceSyscall, 0, 0)
		c.wantStop(syscall.SIGTRAP)
		if i == 1 {
			result = c.regs()
		}
	}
	// The stop of a step at its exit, unlike the exit stop itself, shows x7.
	if sig := c.step(); sig != syscall.SIGTRAP {
		c.Fatal("rt_sigreturn ends in", sig)
	}
	if got := c.regs(); got != st.Regs {
		c.Errorf("registers after a call are\n%x, not\n%x", got, st.Regs)
	}
	if got := c.fp(); string(got) != string(st.FP) {
		c.Errorf("vector registers after a call are\n%x, not\n%x", got, st.FP)
	}
	if got := c.sigMask(); got != st.SigMask {
		c.Errorf("signal mask after a call is %#x, not %#x", got, st.SigMask)
	}
	return ISA.Result(&result)
}

// mmap maps new memory that can be written and executed.
func (c *tracee) mmap(at arch.Addr, size uint64) {
	c.Helper()
	scratch := (arch.Addr(c.regs()[regPC]) + 15) &^ 15 // its own first instructions, which it won't need
	const rwx, privateFixedAnonymous = 7, 0x100032
	got := c.call(scratch, nrMmap, uint64(at), size, rwx, privateFixedAnonymous, ^uint64(0), 0)
	if got != uint64(at) {
		c.Fatalf("mmap: %#x", got)
	}
}
