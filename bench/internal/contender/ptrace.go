package contender

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/bench/internal/target"
)

// Loop is how a Tracer resumes a thread behind its trap.
type Loop int

// Loops.
const (
	// Least moves the PC to a copy of the instruction: one stop per hit, and the fewest requests
	// that the CPU's ptrace allows.
	Least Loop = iota
	// Textbook restores the instruction, steps it, and plants the trap again: two stops per hit.
	// Hits of other threads meanwhile are not counted.
	Textbook
)

// tracer is a debugger's loop, as it would be in C.
type tracer struct {
	process  *target.Process
	site     target.Site
	loop     Loop
	tids     []int
	original uint64
	trapped  uint64

	hits   atomic.Uint64
	leave  atomic.Bool
	placed chan struct{} // closed when it has its thread
	done   chan error
}

// Trace counts hits of a site with a loop of ptrace requests. If cpu is not negative, the loop and
// all threads of the program are bound to that CPU.
func Trace(p *target.Process, s target.Site, loop Loop, cpu int) (Probe, error) {
	tids, err := p.TIDs()
	if err != nil {
		return nil, err
	}
	t := &tracer{process: p, site: s, loop: loop, tids: tids, placed: make(chan struct{}), done: make(chan error, 1)}
	if cpu >= 0 {
		if err := p.Pin(cpu); err != nil {
			return nil, err
		}
	}
	ready := make(chan error, 1)
	go t.run(cpu, ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	return t, nil
}

func (t *tracer) Hits() (uint64, error) { return t.hits.Load(), nil }

// Close makes each thread stop once more, with a signal that the program never sees.
func (t *tracer) Close() error {
	t.leave.Store(true)
	for _, tid := range t.tids {
		_ = unix.Tgkill(t.process.PID, tid, unix.SIGURG) // if the thread is gone, the loop reports it
	}
	return <-t.done
}

// run is the tracer's thread. The thread ends with run, since it may be bound to a CPU. A thread
// that has started children would receive their ends, too, in place of the goroutine that waits for
// them: run needs another thread.
func (t *tracer) run(cpu int, ready chan<- error) {
	runtime.LockOSThread()
	if !childless() {
		go t.run(cpu, ready)
		<-t.placed // until then, the other can't get this thread
		runtime.UnlockOSThread()
		return
	}
	close(t.placed)
	old, err := noChildStop(saNoCldStop)
	if err == nil {
		err = t.attach(cpu)
	}
	ready <- err
	if err == nil {
		err = t.serve()
		_, again := noChildStop(old)
		t.done <- errors.Join(err, again)
	}
}

// saNoCldStop is SA_NOCLDSTOP: no SIGCHLD at stops.
const saNoCldStop = 1

// noChildStop sets or clears SA_NOCLDSTOP of SIGCHLD, and returns the old flag. A tracer in C has
// no handler and so gets no signal at each stop; Go has a handler, which costs 2 µs per hit.
func noChildStop(flag uint64) (old uint64, err error) {
	var action struct{ handler, flags, restorer, mask uint64 }
	call := func(set, get unsafe.Pointer) {
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(set), uintptr(get), 8, 0, 0); errno != 0 {
			err = fmt.Errorf("sigaction: %w", errno)
		}
	}
	if call(nil, unsafe.Pointer(&action)); err != nil {
		return 0, err
	}
	old = action.flags & saNoCldStop
	action.flags = action.flags&^saNoCldStop | flag
	call(unsafe.Pointer(&action), nil)
	return old, err
}

// childless reports whether the calling thread has no children, and is not the thread that gets the
// children of threads that end.
func childless() bool {
	const any = unix.WEXITED | unix.WSTOPPED | unix.WALL | unix.WNOTHREAD | unix.WNOWAIT | unix.WNOHANG
	err := unix.Waitid(unix.P_ALL, 0, nil, any, nil)
	return errors.Is(err, unix.ECHILD) && unix.Gettid() != unix.Getpid()
}

// attach attaches to all threads and plants the trap while the first is stopped.
func (t *tracer) attach(cpu int) error {
	if cpu >= 0 {
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return err
		}
	}
	for i, tid := range t.tids {
		if err := request(unix.PTRACE_SEIZE, tid, 0, 0); err != nil {
			return fmt.Errorf("attach: %w", err)
		}
		if err := request(unix.PTRACE_INTERRUPT, tid, 0, 0); err != nil {
			return fmt.Errorf("interrupt: %w", err)
		}
		if _, _, err := wait(tid); err != nil {
			return err
		}
		if i > 0 {
			if err := request(unix.PTRACE_CONT, tid, 0, 0); err != nil {
				return err
			}
		}
	}
	first := t.tids[0]
	if err := requestAt(unix.PTRACE_PEEKTEXT, first, uintptr(t.site.Addr), unsafe.Pointer(&t.original)); err != nil {
		return err
	}
	t.trapped = withTrap(t.original)
	if err := request(unix.PTRACE_POKETEXT, first, uintptr(t.site.Addr), uintptr(t.trapped)); err != nil {
		return err
	}
	return request(unix.PTRACE_CONT, first, 0, 0)
}

// serve is the loop.
func (t *tracer) serve() error {
	for left := len(t.tids); ; {
		tid, status, err := wait(-1)
		switch {
		case err != nil:
			return err
		case !status.Stopped():
			return fmt.Errorf("thread %d has ended", tid)
		case t.leave.Load() && status.StopSignal() == unix.SIGURG:
			if err := t.release(tid); err != nil {
				return err
			}
			if left--; left == 0 {
				return nil
			}
			continue
		case status.StopSignal() == unix.SIGTRAP && status>>16 == 0:
			t.hit(tid)
		}
		if err := request(unix.PTRACE_CONT, tid, 0, 0); err != nil {
			return err
		}
	}
}

func (t *tracer) hit(tid int) {
	ok := false
	if t.loop == Least {
		ok = movePC(tid, t.site.Addr, t.site.Resume)
	} else {
		ok = t.step(tid)
	}
	if ok {
		t.hits.Store(t.hits.Load() + 1) // only this thread writes it
	}
}

// step executes the instruction in its place.
func (t *tracer) step(tid int) bool {
	var r unix.PtraceRegs
	if getRegs(tid, &r) != nil || pcOf(&r) != trapPC(t.site.Addr) {
		return false
	}
	setPC(&r, t.site.Addr)
	at := uintptr(t.site.Addr)
	err := errors.Join(setRegs(tid, &r),
		request(unix.PTRACE_POKETEXT, tid, at, uintptr(t.original)),
		request(unix.PTRACE_SINGLESTEP, tid, 0, 0))
	if err == nil {
		_, _, err = wait(tid)
	}
	return errors.Join(err, request(unix.PTRACE_POKETEXT, tid, at, uintptr(t.trapped))) == nil
}

// release detaches from a stopped thread, with the program's own code restored.
func (t *tracer) release(tid int) error {
	return errors.Join(request(unix.PTRACE_POKETEXT, tid, uintptr(t.site.Addr), uintptr(t.original)),
		request(unix.PTRACE_DETACH, tid, 0, 0))
}

// request makes a ptrace request. It does not block, and does not tell Go's scheduler.
func request(what, tid int, addr, data uintptr) error {
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(what), uintptr(tid), addr, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// requestAt is request with memory of this process.
func requestAt(what, tid int, addr uintptr, data unsafe.Pointer) error {
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(what), uintptr(tid), addr, uintptr(data), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// wait waits for a stop of a thread, or with -1 of any that this thread traces.
func wait(tid int) (int, unix.WaitStatus, error) {
	var status unix.WaitStatus
	for {
		got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, unix.EINTR) {
			return got, status, err
		}
	}
}
