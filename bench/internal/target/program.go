package target

import "fmt"

// cloneThread are the flags of clone(2) for a thread: CLONE_VM, CLONE_FS,
// CLONE_FILES, CLONE_SIGHAND, CLONE_THREAD and CLONE_SYSVSEM.
const cloneThread = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000

// Constants of system calls.
const (
	protReadWrite  = 3
	mapSharedFixed = 0x11
	mapStacks      = 0x4032 // MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE
	sharedFD       = 3
	futexWait      = 0
	futexWake      = 1
	everybody      = 0x7fffffff
	clockMonotonic = 1
	sigTrap        = 5
	saFlags        = 0x4 | 0x04000000 // SA_SIGINFO, SA_RESTORER
)

// writer writes the program's frame.
type writer struct{ *assembler }

// sys makes a system call; arguments are numbers or registers.
func (w writer) sys(name string, args ...any) {
	for i, v := range args {
		to := arg0 + reg(i)
		switch v := v.(type) {
		case int:
			w.set(to, uint64(v))
		case reg:
			if v != to {
				w.move(to, v)
			}
		}
	}
	w.syscall(name)
}

// ifZero branches if a register is 0; r may not be arg1.
func (w writer) ifZero(r reg, to string) {
	w.set(arg1, 0)
	w.branch(equal, r, arg1, to)
}

// clock writes the time to a word in the thread's slot.
func (w writer) clock(off int) {
	w.move(arg1, slot)
	w.set(arg2, uint64(off))
	w.add(arg1, arg2)
	w.sys("clock_gettime", clockMonotonic, arg1)
}

// exit ends the program.
func (w writer) exit(label string, status int) {
	w.here(label)
	w.sys("exit_group", status)
}

// program writes the frame: _start, the handler of SIGTRAP and the functions that are not probed.
func (w writer) program() {
	w.fn("_start", 64, func() {
		w.begin()
		w.threads()
		w.orders()
		w.measure()
		w.report()
		w.here("over")
		w.load(arg3, control, offLibc)
		w.ifZero(arg3, "really over")
		w.set(arg3, exitAddr)
		w.load(function, arg3, 0)
		w.set(arg0, 0)
		w.call(function) // which runs the libraries' exit functions
		w.exit("really over", 0)
		w.exit("failed", 1)
	})
	w.fn("spin", 64, w.spin)
	w.fn("system_call", 64, func() {
		w.sys("getppid")
		w.ret()
	})
	w.fn("on_trap", 64, func() {
		w.set(arg3, controlAddr)
		w.atomicIncrement(arg3, offTrapped)
		w.trapReturn()
	})
	w.fn("restorer", 64, func() { w.sys("rt_sigreturn") })
}

// begin maps the control block and the stacks, and installs the handler if the program needs one.
func (w writer) begin() {
	w.sys("mmap", controlAddr, controlSize, protReadWrite, mapSharedFixed, sharedFD, 0)
	w.set(control, controlAddr)
	w.branch(different, result, control, "failed")
	w.load(arg1, control, offThreads)
	w.multiply(arg1, stackSize)
	w.sys("mmap", stackAddr, arg1, protReadWrite, mapStacks, -1, 0)
	w.set(arg3, stackAddr)
	w.branch(different, result, arg3, "failed")
	w.load(arg0, control, offTrap)
	w.ifZero(arg0, "no handler")
	for i, label := range []string{"on_trap", "", "restorer"} {
		if w.set(arg4, saFlags); label != "" {
			w.addressOf(arg4, label)
		}
		w.store(control, offAction+8*i, arg4)
	}
	w.sys("rt_sigaction", sigTrap, controlAddr+offAction, 0, 8)
	w.here("no handler")
}

// threads makes the other threads; all of them, including the first, continue behind it.
func (w writer) threads() {
	w.set(index, 1)
	w.here("spawn")
	w.load(arg0, control, offThreads)
	w.branch(below, index, arg0, "one more")
	w.set(index, 0)
	w.jump("thread")
	w.here("one more")
	w.move(arg5, index)
	w.multiply(arg5, stackSize)
	w.set(arg3, stackAddr+stackSize)
	w.add(arg5, arg3) // start of its stack, the upper end
	w.clone(arg5)
	w.ifZero(result, "thread")
	w.branch(signedBelow, result, arg1, "failed")
	w.set(arg1, 1)
	w.add(index, arg1)
	w.jump("spawn")
	w.here("thread")
	w.move(slot, index)
	w.multiply(slot, slotSize)
	w.set(arg1, controlAddr+offSlots)
	w.add(slot, arg1)
	w.set(epoch, 0)
	w.load(arg3, control, offLibc)
	w.set(arg1, 0)
	w.branch(different, arg3, arg1, "next")
	w.move(arg5, slot)
	w.set(arg3, slotThread)
	w.add(arg5, arg3)
	w.store(slot, slotThread, arg5)
	w.threadPointer(arg5)
}

// orders waits for the next order: the first thread for a byte or the end of its input, the others
// for a new epoch.
func (w writer) orders() {
	w.here("next")
	w.ifZero(index, "first")
	w.here("sleep")
	w.load32(arg2, control, offEpoch)
	w.branch(different, arg2, epoch, "order")
	w.sys("futex", controlAddr+offEpoch, futexWait, epoch, 0)
	w.jump("sleep")
	w.here("first")
	w.sys("read", 0, controlAddr+offByte, 1)
	w.set(arg1, 1)
	w.branch(different, result, arg1, "over")
	w.sys("futex", controlAddr+offEpoch, futexWake, everybody)
	w.load32(arg2, control, offEpoch)
	w.here("order")
	w.move(epoch, arg2)
}

// measure waits for the others at the gate, calls the function, and takes the time.
func (w writer) measure() {
	w.load(function, slot, slotFunction)
	w.load(count, slot, slotCount)
	w.ifZero(function, "through")
	w.atomicIncrement(control, offGate)
	w.here("gate")
	w.load(arg0, control, offGate)
	w.load(arg1, control, offActive)
	w.branch(below, arg0, arg1, "yield")
	w.jump("go")
	w.here("yield")
	w.sys("sched_yield")
	w.jump("gate")
	w.here("go")
	w.clock(slotStart)
	w.load(arg0, slot, slotStride)
	w.set(arg1, 0)
	w.branch(different, arg0, arg1, "sweep")
	w.align(64)
	w.here("drive")
	w.call(function)
	w.decrement(count)
	w.branchNotZero("drive")
	w.jump("end")
	w.here("sweep") // each call is of the function one stride further on
	w.call(function)
	w.load(arg3, slot, slotStride)
	w.add(function, arg3)
	w.decrement(count)
	w.branchNotZero("sweep")
	w.here("end")
	w.clock(slotEnd)
	w.here("through")
	w.atomicIncrement(control, offFinished)
}

// report makes the first thread answer when all have finished, or at once.
func (w writer) report() {
	w.ifZero(index, "first is through")
	w.sys("futex", controlAddr+offFinished, futexWake, everybody)
	w.jump("next")
	w.here("first is through")
	w.load(arg0, control, offAlone)
	w.ifZero(arg0, "gather")
	w.jump("reply")
	w.here("gather")
	w.load32(arg2, control, offFinished)
	w.load(arg0, control, offThreads)
	w.branch(equal, arg2, arg0, "reply")
	w.sys("futex", controlAddr+offFinished, futexWait, arg2, 0)
	w.jump("gather")
	w.here("reply")
	w.sys("write", 1, controlAddr+offByte, 1)
	w.jump("next")
}

// spin reads the clock until it must stop, and keeps the longest time between two reads.
func (w writer) spin() {
	now := func() {
		w.clock(slotNow)
		w.load(arg3, slot, slotNow)
		w.multiply(arg3, 1e9)
		w.load(arg4, slot, slotNow+8)
		w.add(arg3, arg4)
	}
	now()
	w.store(slot, slotLast, arg3)
	w.here("look")
	now()
	w.load(arg4, slot, slotLast)
	w.store(slot, slotLast, arg3)
	w.sub(arg3, arg4)
	w.load(arg4, slot, slotGap)
	w.branch(below, arg3, arg4, "shorter")
	w.store(slot, slotGap, arg3)
	w.here("shorter")
	w.load(arg4, control, offStop)
	w.ifZero(arg4, "look")
	w.ret()
}

// many writes n functions of equal length, for measurements with many probes. stride is the
// distance between them.
func (w writer) many(n int) (stride uint64) {
	for i := range n {
		w.fn(fmt.Sprintf("many_%04d", i), 32, w.ordinary)
	}
	if n < 2 {
		return 0
	}
	return w.addr("many_0001") - w.addr("many_0000")
}
