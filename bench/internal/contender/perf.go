package contender

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/bench/internal/target"
)

// events are perf events of one kind, one per thread; their counts are added.
type events []int

// openEvents counts in all threads of a program.
func openEvents(attr unix.PerfEventAttr, p *target.Process) (e events, err error) {
	tids, err := p.TIDs()
	if err != nil {
		return nil, err
	}
	attr.Size = uint32(unsafe.Sizeof(attr))
	for _, tid := range tids {
		fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			return nil, errors.Join(noEvent(err), e.Close())
		}
		e = append(e, fd)
	}
	return e, nil
}

// noEvent returns why the kernel refuses an event.
func noEvent(err error) error {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: no right to count kernel events: needs CAP_PERFMON, or root (perf_event_open: %w)", ErrMissing, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%w: the kernel or the CPU has none (perf_event_open: %w)", ErrMissing, err)
	}
	return fmt.Errorf("perf_event_open: %w", err)
}

func (e events) Hits() (n uint64, err error) {
	for _, fd := range e {
		var b [8]byte
		if _, err := unix.Read(fd, b[:]); err != nil {
			return 0, fmt.Errorf("read perf event: %w", err)
		}
		n += binary.LittleEndian.Uint64(b[:])
	}
	return n, nil
}

func (e events) Close() (err error) {
	for _, fd := range e {
		err = errors.Join(err, unix.Close(fd))
	}
	return err
}

// Uprobe counts the executions of a site with a perf event of the PMU "uprobe"
// (perf_event_open(2)); no program runs at it.
func Uprobe(p *target.Process, s target.Site) (Probe, error) {
	b, err := os.ReadFile("/sys/bus/event_source/devices/uprobe/type")
	if err != nil {
		return nil, fmt.Errorf("%w: no uprobe PMU: the kernel has it since 4.17 (%w)", ErrMissing, err)
	}
	kind, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("uprobe PMU: %w", err)
	}
	name, err := unix.BytePtrFromString(p.Program.Path)
	if err != nil {
		return nil, err
	}
	var pin runtime.Pinner
	pin.Pin(name)
	defer pin.Unpin()
	return openEvents(unix.PerfEventAttr{Type: uint32(kind), Ext1: uint64(uintptr(unsafe.Pointer(name))), Ext2: target.Offset(s.Addr)}, p)
}

// breakpointExecute is HW_BREAKPOINT_X (linux/hw_breakpoint.h).
const breakpointExecute = 4

// Breakpoint counts with a debug register of the CPU.
func Breakpoint(p *target.Process, s target.Site) (Probe, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_BREAKPOINT, Bp_type: breakpointExecute,
		Bits: unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv, Ext1: s.Addr, Ext2: breakpointLen}
	return openEvents(attr, p)
}
