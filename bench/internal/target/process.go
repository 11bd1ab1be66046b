package target

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Patience is how long an order may take; a program that takes longer is killed.
var Patience = 60 * time.Second

// Options of a Process.
type Options struct {
	Threads int  // 0: one
	Trap    bool // it has a handler of SIGTRAP, see Process.Resume
	// Preload is a library to load into it. Under is a command that executes it, and that has the
	// PID of the Process. Both are for Linked programs.
	Preload string
	Under   []string
}

// Process is the running program. One goroutine at a time uses it.
type Process struct {
	PID     int
	Threads int
	Program *Program

	cmd     *exec.Cmd
	control controlBlock
	in, out *os.File
	// wait waits for the program's end, once. It must not be called while this process traces the
	// program: a wait for exits also takes stops of children that another thread of the parent
	// traces (wait_consider_task, kernel/exit.c).
	wait func() error
}

// Order says what a Process is to do: some of its threads call a function several times each, at
// the same time.
type Order struct {
	Addr    uint64 // of the function
	Calls   int    // of each thread
	Stride  uint64 // distance of each call's function from the last one's, in bytes
	Threads int    // 0: all
}

// Took is the result of an Order.
type Took struct {
	Time  time.Duration // from the first call to the last, by the threads' clocks
	Calls uint64        // of all threads together
}

// Start runs the program until it waits for an order, with all threads.
func (p *Program) Start(o Options) (*Process, error) {
	o.Threads = max(o.Threads, 1)
	if o.Threads > MaxThreads || p.Linked && o.Threads > 1 {
		return nil, fmt.Errorf("target: %d threads: more than it can have", o.Threads)
	}
	t := &Process{Program: p, Threads: o.Threads}
	shared, err := memory("ptracer-bench-control", controlSize)
	if err != nil {
		return nil, err
	}
	defer shared.Close()
	if t.control, err = share(shared, controlSize); err != nil {
		return nil, err
	}
	t.control.set(offThreads, uint64(o.Threads))
	if o.Trap {
		t.control.set(offTrap, 1)
	}
	if p.Linked {
		t.control.set(offLibc, 1)
	}
	if err := t.start(shared, o); err != nil {
		return nil, errors.Join(fmt.Errorf("target: start: %w", err), t.unmap())
	}
	if _, err := t.Run(Order{}); err != nil { // an order without calls ends when all threads exist
		return nil, errors.Join(err, t.Close())
	}
	if err := t.spread(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// spread runs each thread on a CPU of its own once, if there are enough. After that the kernel may
// move it; but a thread that has just been woken for the first time is often on the CPU of the
// thread that has woken it, for longer than some measurements take.
func (t *Process) spread() error {
	if t.Threads < 2 || t.Threads > 1024 {
		return nil
	}
	tids, err := t.TIDs()
	if err != nil {
		return err
	}
	all, err := affinity(t.PID)
	if err != nil {
		return err
	}
	cpus := cpusOf(all)
	for i, tid := range tids {
		if err := pin(tid, cpus[i%len(cpus)]); err != nil {
			return err
		}
	}
	_, err = t.Run(Order{})
	for _, tid := range tids {
		err = errors.Join(err, setAffinity(tid, all))
	}
	return err
}

func (t *Process) start(shared *os.File, o Options) error {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return errors.Join(err, theirIn.Close(), in.Close())
	}
	t.in, t.out = in, out
	err = retryBusy(func() error {
		args := append(slices.Clone(o.Under), t.Program.Path)
		t.cmd = exec.Command(args[0], args[1:]...)
		t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // keeps a terminal's Ctrl-C from it
		if o.Preload != "" {
			t.cmd.Env = append(os.Environ(), "LD_PRELOAD="+o.Preload)
		}
		t.cmd.Stdin, t.cmd.Stdout, t.cmd.ExtraFiles = theirIn, theirOut, []*os.File{shared}
		return t.cmd.Start()
	})
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		return errors.Join(err, in.Close(), out.Close())
	}
	t.PID, t.wait = t.cmd.Process.Pid, sync.OnceValue(t.cmd.Wait)
	return nil
}

// Run gives an order and waits until it is done.
func (t *Process) Run(o Order) (Took, error) {
	threads := o.Threads
	if threads == 0 {
		threads = t.Threads
	}
	t.order(o, threads)
	if err := t.send(); err != nil {
		return Took{}, err
	}
	if err := t.await(); err != nil || o.Addr == 0 {
		return Took{}, err
	}
	first, last := t.control.time(t.control.slot(0)+slotStart), int64(0)
	for i := range threads {
		first = min(first, t.control.time(t.control.slot(i)+slotStart))
		last = max(last, t.control.time(t.control.slot(i)+slotEnd))
	}
	return Took{time.Duration(last - first), uint64(o.Calls) * uint64(threads)}, nil
}

// order writes an order for the first threads; the others get nothing to do.
func (t *Process) order(o Order, threads int) {
	c := t.control
	for i := range t.Threads {
		s := c.slot(i)
		c.set(s+slotFunction, 0)
		if i < threads {
			c.set(s+slotFunction, o.Addr)
			c.set(s+slotCount, uint64(o.Calls))
			c.set(s+slotStride, o.Stride)
		}
	}
	c.set(offActive, uint64(threads))
	c.set(offGate, 0)
	c.set(offFinished, 0)
	c.set(offEpoch, c.get(offEpoch)+1)
}

func (t *Process) send() error {
	if _, err := t.in.Write([]byte{1}); err != nil {
		return fmt.Errorf("target: give an order: %w", err)
	}
	return nil
}

// await waits for the answer to an order.
func (t *Process) await() error {
	_ = t.out.SetReadDeadline(time.Now().Add(Patience))
	_, err := t.out.Read(make([]byte, 1))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Kill()
		return fmt.Errorf("target: no answer within %v; it was killed", Patience)
	}
	_ = t.wait()
	return fmt.Errorf("target: it has ended: %v", t.cmd.ProcessState)
}

// Spin makes the second thread read the clock all the time, until Still. The first one waits
// meanwhile as always: if this process dies, the program ends.
func (t *Process) Spin() error {
	if t.Threads < 2 {
		return errors.New("target: no thread to spin: the first one waits")
	}
	c, s := t.control, t.control.slot(1)
	t.order(Order{}, 0)
	c.set(s+slotFunction, t.Program.Addr("spin"))
	c.set(s+slotCount, 1)
	c.set(s+slotStride, 0)
	c.set(offActive, 1)
	c.set(offStop, 0)
	c.set(offAlone, 1)
	defer c.set(offAlone, 0)
	if err := t.send(); err != nil {
		return err
	}
	return t.await()
}

// Gap is the longest time between two reads of the clock by the spinning thread since the last call
// of Gap.
func (t *Process) Gap() time.Duration {
	s := t.control.slot(1) + slotGap
	gap := t.control.get(s)
	t.control.set(s, 0)
	return time.Duration(gap)
}

// Still ends Spin.
func (t *Process) Still() error {
	t.control.set(offStop, 1)
	for end := time.Now().Add(Patience); t.control.get(offFinished) < uint64(t.Threads); pause() {
		if time.Now().After(end) {
			return errors.New("target: it spins on")
		}
	}
	return nil
}

// Resume sets the address where the handler of SIGTRAP continues.
func (t *Process) Resume(addr uint64) { t.control.set(offResume, addr) }

// Trapped is how often the handler of SIGTRAP has run.
func (t *Process) Trapped() uint64 { return t.control.get(offTrapped) }

// Patched is how often the code behind a Site's Jump has run; the number is exact with one thread
// only.
func (t *Process) Patched() uint64 { return t.control.get(offPatched) }

// Write changes the program's memory, including code.
func (t *Process) Write(addr uint64, code []byte) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", t.PID), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(code, int64(addr))
	return err
}

// TIDs returns the ids of its threads.
func (t *Process) TIDs() ([]int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", t.PID))
	if err != nil {
		return nil, err
	}
	var tids []int
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids, nil
}

// Pin binds all its threads to one CPU.
func (t *Process) Pin(cpu int) error {
	tids, err := t.TIDs()
	for _, tid := range tids {
		err = errors.Join(err, pin(tid, cpu))
	}
	return err
}

// Kill kills the program in any state.
func (t *Process) Kill() { _ = t.cmd.Process.Kill() }

// Close makes the program end, and waits for it.
func (t *Process) Close() error {
	if t.in == nil {
		return nil
	}
	err := t.in.Close()
	stuck := time.AfterFunc(Patience, t.Kill)
	defer stuck.Stop()
	if end := t.wait(); end != nil {
		err = errors.Join(err, fmt.Errorf("target: %w", end))
	}
	t.in = nil
	return errors.Join(err, t.out.Close(), t.unmap())
}

func (t *Process) unmap() error { return unix.Munmap(t.control) }

func pause() { time.Sleep(time.Millisecond) }
