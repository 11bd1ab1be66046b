package ptrace

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// Memory is /proc/PID/mem: one address space, read and written regardless of its protection (the
// kernel forces access for a tracer). The file stays with the address space it was opened on: after
// an exec the tracer opens a new one.
type Memory struct {
	file *os.File
	pid  int
	// Written is set by each Write, as is the variable that Note points to.
	Written bool
	Note    *bool
}

// OpenMemory opens the address space of pid, a process that the caller traces.
func OpenMemory(pid int) (*Memory, error) {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &Memory{file: f, pid: pid}, nil
}

// Close releases the address space.
func (m *Memory) Close() error { return m.file.Close() }

// Read fills buf from addr, whole or with an error.
func (m *Memory) Read(addr arch.Addr, buf []byte) error {
	n, err := m.ReadSome(addr, buf)
	if err == nil && n < len(buf) {
		err = unix.EFAULT
	}
	return m.failed("read", addr, err)
}

// ReadSome reads up to the first byte that is not mapped, and returns how many bytes it has read.
func (m *Memory) ReadSome(addr arch.Addr, buf []byte) (int, error) {
	done := 0
	for done < len(buf) {
		n, err := unix.Pread(int(m.file.Fd()), buf[done:], int64(addr)+int64(done))
		if n > 0 {
			done += n
			continue
		}
		if err == unix.EINTR {
			continue
		}
		if err == nil {
			err = unix.ESRCH // mem_rw: the address space has no users any more
		}
		if done == 0 {
			return 0, m.failed("read", addr, err)
		}
		break
	}
	return done, nil
}

// Write writes data at addr. It fails where the kernel refuses forced writes through this file
// (proc_mem.force_override).
func (m *Memory) Write(addr arch.Addr, data []byte) error {
	m.Written = true
	if m.Note != nil {
		*m.Note = true
	}
	for done := 0; done < len(data); {
		step()
		n, err := unix.Pwrite(int(m.file.Fd()), data[done:], int64(addr)+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = unix.ESRCH
		}
		if err != nil {
			return m.failed("write", addr, err)
		}
		done += n
	}
	return nil
}

func (m *Memory) failed(op string, addr arch.Addr, err error) error {
	if err == nil {
		return nil
	}
	var already *MemoryError
	if errors.As(err, &already) {
		return err
	}
	if err == unix.EBADF { // closed because the process has ended
		err = unix.ESRCH
	}
	return &MemoryError{op, m.pid, addr, err}
}

// MemoryError is an access to a tracee's memory that failed.
type MemoryError struct {
	Op   string // read, write
	PID  int
	Addr arch.Addr
	Err  error
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%s memory of %d at %s: %v", e.Op, e.PID, e.Addr, e.Err)
}

// Unwrap gives the cause.
func (e *MemoryError) Unwrap() error { return e.Err }

// Is compares the class of the cause.
func (e *MemoryError) Is(target error) bool {
	switch {
	case errors.Is(e.Err, unix.EIO), errors.Is(e.Err, unix.EFAULT):
		return target == ErrNotMapped
	case errors.Is(e.Err, unix.ESRCH):
		return target == ErrGone
	}
	return false
}
