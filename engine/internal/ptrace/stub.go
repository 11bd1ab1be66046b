package ptrace

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// The stub is a program of a hundred bytes that is built here and runs from memory. It sleeps for
// ever. When its PC is set to stubGo, it ignores the given signals, clears its death signal and
// executes the program that its arguments name. It serves as doorbell (a child that ends a blocked
// wait by stopping) and as launcher (a child that the tracer can seize before it executes anything:
// a TRACEME child could never be interrupted).
const stubBase = 0x400000

// stubImage is a static ELF executable around stubCode.
func stubImage() []byte {
	const headers = 64 + 56
	var b bytes.Buffer
	size := uint64(headers + len(stubCode))
	_ = binary.Write(&b, binary.LittleEndian, elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(stubMachine), Version: 1,
		Entry: stubBase + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	})
	_ = binary.Write(&b, binary.LittleEndian, elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: stubBase, Paddr: stubBase, Filesz: size, Memsz: size, Align: 0x1000,
	})
	b.Write(stubCode)
	return b.Bytes()
}

// startStub runs the stub as a child of this thread, seized and asleep. The stub dies with this
// thread.
func startStub(argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	if attr.Sys == nil {
		attr.Sys = &syscall.SysProcAttr{}
	}
	attr.Sys.Pdeathsig = syscall.SIGKILL
	fd, err := unix.MemfdCreate("ptracer-stub", unix.MFD_CLOEXEC)
	if err == unix.EACCES { // vm.memfd_noexec = 2
		return startStubFile(argv, attr)
	}
	if err != nil {
		return 0, fmt.Errorf("memfd_create: %w", err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, stubImage()); err != nil {
		return 0, fmt.Errorf("write memfd: %w", err)
	}
	pid, err = syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", fd), argv, attr)
	if err == syscall.EACCES {
		// Seen twice on busy machines, three times in a row each. No cause was found in the
		// kernel's source, and 120,000 trials did not reproduce it. A kernel that forbids executing
		// a memfd (vm.memfd_noexec) returns the same error.
		pid, err = startStubFile(argv, attr)
	}
	if err != nil {
		return 0, fmt.Errorf("start helper process: %w", err)
	}
	return pid, nil
}

// startStubFile runs the stub from a file if it can't run from memory.
func startStubFile(argv []string, attr *syscall.ProcAttr) (int, error) {
	f, err := os.CreateTemp("", "ptracer-stub")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(stubImage()); err == nil {
		err = f.Chmod(0o755) // another user may run it
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return syscall.ForkExec(f.Name(), argv, attr)
}

// Reap ends a child of this thread and waits for it.
func Reap(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		s, ok, err := Wait(pid, true)
		switch {
		case err != nil, ok && (s.Kind == Killed || s.Kind == Exited):
			return
		case ok && s.Kind == Exit: // see BeforeExit: the tracer must resume it
			_ = Cont(pid, 0)
		}
	}
}

// Bell wakes a thread that blocks in Wait, from any other thread, without polling and without a
// lost wake-up: a signal to a traced child stays pending until the stop that it causes has been
// waited for.
type Bell struct{ pid int }

// NewBell starts the doorbell; the calling thread receives its stops.
func NewBell() (*Bell, error) {
	pid, err := startStub([]string{"ptracer-bell"}, &syscall.ProcAttr{})
	if err != nil {
		return nil, err
	}
	if err := Seize(pid, 0); err != nil {
		Reap(pid)
		return nil, err
	}
	return &Bell{pid}, nil
}

// Task is the doorbell's task id: a stop of it means that Ring was called.
func (b *Bell) Task() int { return b.pid }

// Ring wakes the thread that made the bell.
func (b *Bell) Ring() { _ = unix.Tgkill(b.pid, b.pid, unix.SIGUSR1) }

// Close ends the doorbell; the thread that made it must call it.
func (b *Bell) Close() { Reap(b.pid) }

// Command is a program to start under trace.
type Command struct {
	Path   string   // executable, already looked up
	Args   []string // argv, with the name
	Env    []string // nil: the tracer's
	Dir    string
	Files  []uintptr // descriptors 0, 1, 2, ...
	NoASLR bool      // without address space randomisation
	// Ignored are the signals that the program ignores from the start, bit n-1 for signal n.
	Ignored uint64
}

// addrNoRandomize is ADDR_NO_RANDOMIZE of personality(2).
const addrNoRandomize = 0x0040000

// Launch starts c and returns it seized with options, stopped at its Exec
// event: before the first instruction of the program or of its interpreter.
func Launch(c Command, options uintptr) (pid int, err error) {
	env := c.Env
	if env == nil {
		env = os.Environ()
	}
	if c.NoASLR {
		old, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
		if errno == 0 {
			unix.RawSyscall(unix.SYS_PERSONALITY, old|addrNoRandomize, 0, 0)
			defer unix.RawSyscall(unix.SYS_PERSONALITY, old, 0, 0)
		}
	}
	pid, err = startStub(append([]string{c.Path}, c.Args...), &syscall.ProcAttr{Dir: c.Dir, Env: env, Files: c.Files})
	if err != nil {
		return 0, err
	}
	if err = launch(pid, options, c.Ignored); err != nil {
		Reap(pid)
		return 0, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return pid, nil
}

func launch(pid int, options uintptr, ignored uint64) error {
	if err := Seize(pid, options|unix.PTRACE_O_TRACEEXEC); err != nil {
		return err
	}
	if err := Interrupt(pid); err != nil {
		return err
	}
	if err := awaitKind(pid, Trap); err != nil {
		return err
	}
	var r arch.Regs
	if err := GetRegs(pid, &r); err != nil {
		return err
	}
	stubGo(&r, stubBase+64+56+stubExec, ignored)
	if err := SetRegs(pid, &r); err != nil {
		return err
	}
	if err := Cont(pid, 0); err != nil {
		return err
	}
	return awaitKind(pid, Exec)
}

func awaitKind(pid int, kind Kind) error {
	for {
		s, _, err := Wait(pid, true)
		switch {
		case err != nil:
			return err
		case s.Kind == kind:
			if Take(pid).Kind != Exit {
				return nil
			}
			_ = Cont(pid, 0) // killed meanwhile: Wait reports its end
			continue
		case s.Kind == Exited:
			return unix.Errno(s.Status) // the stub's exit code is execve's errno
		case s.Kind == Killed:
			return fmt.Errorf("killed by %v before it started", s.Signal)
		}
		if kind == Trap {
			// The stub's own exec may still be under way, and its event, like any stop, has cleared
			// the pending interrupt (ptrace_stop, kernel/signal.c).
			if err := Interrupt(pid); err != nil {
				return err
			}
		}
		if err := Cont(pid, 0); err != nil {
			return err
		}
	}
}

// SigAction is the kernel's struct sigaction (not libc's), as rt_sigaction
// takes it on amd64 and arm64.
type SigAction struct {
	Handler  uint64
	Flags    uint64
	Restorer uint64
	Mask     uint64
}

// Bytes is a's memory, to copy from and to a tracee's.
func (a *SigAction) Bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(a)), unsafe.Sizeof(*a))
}
