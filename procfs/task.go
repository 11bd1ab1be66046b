package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Path is the path of one of a task's files, as in Path(1, "exe").
func Path(tid int, name string) string { return "/proc/" + strconv.Itoa(tid) + "/" + name }

// Read reads a short file of a task's into room; nil if the task has gone. It asks the
// kernel for no more than that: os.ReadFile makes ten calls.
func Read(tid int, name string, room []byte) []byte {
	fd, err := syscall.Open(Path(tid, name), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	for {
		n, err := syscall.Read(fd, room)
		if err == syscall.EINTR {
			continue
		}
		return room[:max(n, 0)]
	}
}

// Running returns those of a process's tasks that run, or that wait for a CPU and nothing else. A task
// that can't be looked at counts as asleep. A look takes some 7 µs; several CPUs share the work.
func Running(pid int, tids []int) map[int]bool {
	dir, err := syscall.Open(Path(pid, "task"), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(dir)
	const some = 64 // tasks that are worth a goroutine
	var mu sync.Mutex
	var all sync.WaitGroup
	running := map[int]bool{}
	for part := range slices.Chunk(tids, max(some, (len(tids)+3)/4)) {
		all.Go(func() {
			for _, tid := range part {
				if runs(dir, tid) {
					mu.Lock()
					running[tid] = true
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return running
}

// runs is Running for one task of the process whose folder of tasks is dir.
func runs(dir, tid int) bool {
	fd, err := syscall.Openat(dir, strconv.Itoa(tid)+"/syscall", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	var room [16]byte
	n, _ := syscall.Read(fd, room[:])
	return bytes.HasPrefix(room[:max(n, 0)], []byte("running"))
}

// State is the letter of a task's state: R, S, D, T, t, Z, X; 0 if the task has gone.
func State(tid int) byte {
	var room [512]byte
	b := Read(tid, "stat", room[:])
	if i := bytes.LastIndexByte(b, ')'); i > 0 && i+2 < len(b) {
		return b[i+2]
	}
	return 0
}

// Comm is a task's name, up to 15 bytes; "" if the task has gone.
func Comm(tid int) string {
	b, _ := os.ReadFile(Path(tid, "comm"))
	return strings.TrimSuffix(string(b), "\n")
}

// Tasks lists the threads of a process, as the kernel knows them now.
func Tasks(pid int) ([]int, error) {
	entries, err := os.ReadDir(Path(pid, "task"))
	if err != nil {
		return nil, err
	}
	ids := make([]int, 0, len(entries))
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// LiveTask is the task by whose files a process's memory is seen: its first, or, where
// that has ended (pthread_exit) and others go on, one of those.
func LiveTask(pid int) int {
	ended := func(tid int) bool { // the link of a task without memory leads nowhere
		_, err := os.Readlink(Path(tid, "exe"))
		return errors.Is(err, os.ErrNotExist)
	}
	if !ended(pid) {
		return pid
	}
	tasks, _ := Tasks(pid)
	for _, tid := range tasks {
		if !ended(tid) {
			return tid
		}
	}
	return pid
}

// User is the effective user of a task; -1 if the task has gone.
func User(tid int) int { return owner(Path(tid, "")) }

// FileOwner is the user whose files a task's are: its effective user, and root where the
// process is not dumpable. Of the folder that they lie in that does not hold (task_dump_owner,
// fs/proc/base.c). -1 if the task has gone.
func FileOwner(tid int) int { return owner(Path(tid, "status")) }

func owner(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Uid)
}

// NewestChild is the last of the children that a task has made; 0 if it has none.
func NewestChild(pid, tid int) (child int) {
	b, _ := os.ReadFile(Path(pid, fmt.Sprintf("task/%d/children", tid)))
	for _, f := range strings.Fields(string(b)) {
		child, _ = strconv.Atoi(f)
	}
	return child
}

// SameProgram reports whether two processes execute the same file.
func SameProgram(a, b int) bool {
	fa, errA := os.Stat(Path(a, "exe"))
	fb, errB := os.Stat(Path(b, "exe"))
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// PIDOf is the process that a pidfd of this process stands for: -1 once it has ended and its parent has
// waited for it, as its id may be another's from then on, and 0 if fd is none.
func PIDOf(fd int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	_, rest, _ := strings.Cut(string(b), "\nPid:")
	pid, _ := strconv.Atoi(first(rest))
	return pid
}

// Started is when a process began, in clock ticks since boot (proc(5), starttime).
func Started(pid int) (ticks uint64, err error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	if len(f) < 20 {
		return 0, fmt.Errorf("process %d: %d fields in its stat", pid, len(f)+2)
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// Image tells programs apart that a process executes one after the other: where the
// program's code and stack begin (startcode, endcode, startstack of proc(5)). "" if the
// process has gone.
func Image(pid int) string {
	f, err := stat(pid)
	if err != nil || len(f) < 26 {
		return ""
	}
	return strings.Join(f[23:26], " ")
}

// stat is the fields of /proc/PID/stat from the third on, the state.
func stat(pid int) ([]string, error) {
	b, err := os.ReadFile(Path(pid, "stat"))
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])), nil
}

// first is the first word of a text; "" if it has none.
func first(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return f[0]
	}
	return ""
}
