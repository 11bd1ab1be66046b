package amd64

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/skip"
)

// Addresses of the sandbox's memory: the program's code and data, a slot in reach of them, and a
// slot out of reach.
const (
	sandCode = 0x10000000
	sandData = 0x18000000
	sandNear = 0x20000000
	sandFar  = 0x7e0000000000
	sandSize = 0x2000 // of each
)

// Register sets of PTRACE_GETREGSET (include/uapi/linux/elf.h).
const (
	ntPrstatus = 1
	ntXState   = 0x202
)

// sandbox is a stopped process that executes single instructions in the place and state that a test
// sets.
type sandbox struct {
	t      testing.TB
	pid    int
	mem    *os.File
	xstate []byte // vector registers at the start
}

// newSandbox starts a process, stopped before its first instruction, and maps
// memory in it with the system call stub.
func newSandbox(t *testing.T) *sandbox {
	if runtime.GOARCH != "amd64" {
		skip.Missing(t, "an amd64 CPU")
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	s := &sandbox{t: t, pid: cmd.Process.Pid}
	if ws := s.wait(); ws.StopSignal() != unix.SIGTRAP {
		t.Fatalf("not stopped after exec: %#x", ws)
	}
	var err error
	if s.mem, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", s.pid), os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.mem.Close() })
	for _, at := range []uint64{sandCode, sandData, sandNear, sandFar} {
		const anonFixed = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED
		s.syscall(unix.SYS_MMAP, at, at, sandSize, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, anonFixed, ^uint64(0), 0)
	}
	s.clear()
	s.xstate = s.regset(ntXState, 16<<10)
	return s
}

// clear unmaps everything else, so that an instruction's writes have no effect on later trials.
func (s *sandbox) clear() {
	regs := s.regs()
	regs[regRIP] = sandCode
	s.setRegs(&regs)
	for _, gap := range [][2]uint64{
		{0x1000, sandCode}, {sandCode + sandSize, sandData}, {sandData + sandSize, sandNear},
		{sandNear + sandSize, sandFar}, {sandFar + sandSize, 0x7ffffffff000},
	} {
		s.syscall(unix.SYS_MUNMAP, 0, gap[0], gap[1]-gap[0])
	}
}

// syscall makes a system call with SyscallCode's stub, checks that the stub restores the registers,
// and checks the result.
func (s *sandbox) syscall(nr, want uint64, args ...uint64) {
	s.t.Helper()
	before := s.regs()
	var six [6]uint64
	copy(six[:], args)
	b := arch.Buffer{Addr: arch.Addr(before[regRIP])}
	entry, err := ISA.SyscallCode(&b, &arch.CallState{Regs: before}, nr, six)
	if err != nil {
		s.t.Fatal(err)
	}
	saved := make([]byte, len(b.Code))
	s.read(b.Addr, saved)
	s.write(b.Addr, b.Code)
	s.setRegs(&entry)
	s.step()
	after := s.regs()
	if got := ISA.Result(&after); got != want {
		s.t.Fatalf("system call %d: %#x, not %#x", nr, got, want)
	}
	for range len(syscallSaved) + 1 {
		s.step()
	}
	want2 := ISA.Restarted(&before)
	after = s.regs()
	after[regOrigRAX], want2[regOrigRAX] = 0, 0
	if after != want2 {
		s.t.Fatalf("registers behind the stub:\n%x\nnot\n%x", after, want2)
	}
	s.write(b.Addr, saved)
}

func (s *sandbox) read(at arch.Addr, p []byte) {
	s.t.Helper()
	if _, err := s.mem.ReadAt(p, int64(at)); err != nil {
		s.t.Fatalf("read %v: %v", at, err)
	}
}

func (s *sandbox) write(at arch.Addr, p []byte) {
	s.t.Helper()
	if _, err := s.mem.WriteAt(p, int64(at)); err != nil {
		s.t.Fatalf("write %v: %v", at, err)
	}
}

func (s *sandbox) wait() unix.WaitStatus {
	s.t.Helper()
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(s.pid, &ws, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			s.t.Fatalf("wait: %v", err)
		case !ws.Stopped():
			s.t.Fatalf("sandbox is gone: %#x", ws)
		}
		return ws
	}
}

// step executes one instruction and returns the signal that it ended with: SIGTRAP.
func (s *sandbox) step() unix.Signal {
	s.t.Helper()
	s.ptrace(unix.PTRACE_SINGLESTEP, 0, 0)
	return s.wait().StopSignal()
}

func (s *sandbox) ptrace(request int, addr, data uintptr) {
	s.t.Helper()
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(s.pid), addr, data, 0, 0); errno != 0 {
		s.t.Fatalf("ptrace %#x: %v", request, errno)
	}
}

// ptraceAt is ptrace with memory of this process.
func (s *sandbox) ptraceAt(request int, addr uintptr, data unsafe.Pointer) {
	s.t.Helper()
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(s.pid), addr, uintptr(data), 0, 0); errno != 0 {
		s.t.Fatalf("ptrace %#x: %v", request, errno)
	}
}

func (s *sandbox) regset(kind uintptr, size int) []byte {
	s.t.Helper()
	buf := make([]byte, size)
	iov := unix.Iovec{Base: &buf[0], Len: uint64(size)}
	s.ptraceAt(unix.PTRACE_GETREGSET, kind, unsafe.Pointer(&iov))
	return buf[:iov.Len]
}

func (s *sandbox) setRegset(kind uintptr, buf []byte) {
	s.t.Helper()
	iov := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
	s.ptraceAt(unix.PTRACE_SETREGSET, kind, unsafe.Pointer(&iov))
}

func (s *sandbox) regs() (r arch.Regs) {
	s.t.Helper()
	buf := s.regset(ntPrstatus, 8*numRegs)
	for i := range numRegs {
		r[i] = binary.LittleEndian.Uint64(buf[8*i:])
	}
	return r
}

func (s *sandbox) setRegs(r *arch.Regs) {
	s.t.Helper()
	var buf []byte
	for _, v := range r[:numRegs] {
		buf = binary.LittleEndian.AppendUint64(buf, v)
	}
	s.setRegset(ntPrstatus, buf)
}
