package procfs

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
)

// child starts the fixture that waits for a line.
func child(t *testing.T) (pid int) {
	t.Helper()
	cmd := exec.Command(fixture.Path(t, "loop"), "1", "wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil { // it runs its own program
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// TestTask compares what is read of a child with what is known of it.
func TestTask(t *testing.T) {
	pid := child(t)
	if got := Comm(pid); got != "loop" {
		t.Errorf("its name is %q", got)
	}
	if got, err := Tasks(pid); err != nil || !slices.Equal(got, []int{pid}) {
		t.Errorf("its tasks are %v, %v", got, err)
	}
	if got := LiveTask(pid); got != pid {
		t.Errorf("its live task is %d, want %d", got, pid)
	}
	if got := Group(pid); got != pid {
		t.Errorf("it is of %d", got)
	}
	if got := Tracer(pid); got != 0 {
		t.Errorf("%d traces it", got)
	}
	if !SameProgram(pid, pid) || SameProgram(pid, os.Getpid()) {
		t.Error("programs are not told apart")
	}
	if User(pid) != os.Geteuid() || FileOwner(pid) != os.Geteuid() {
		t.Errorf("its users are %d and %d", User(pid), FileOwner(pid))
	}
	if !Dumpable(pid) || !SamePIDNamespace(pid) || UserNamespace(pid) != UserNamespace(os.Getpid()) {
		t.Error("its memory, or its namespaces, are another's")
	}
	if img := Image(pid); img == "" || img == Image(os.Getpid()) {
		t.Errorf("its image is %q", img)
	}
	theirs, err := Started(pid)
	ours, err2 := Started(os.Getpid())
	if err != nil || err2 != nil || theirs < ours {
		t.Errorf("it began at %d, its parent at %d: %v, %v", theirs, ours, err, err2)
	}
	st, err := ReadStatus(pid)
	if err != nil || st.Number("PPid") != os.Getpid() || st.Ended() || st.First("Name") != "loop" {
		t.Errorf("its status is %v, %v", st, err)
	}
	if id := uint32(os.Getuid()); !st.Same("Uid", id) || st.Same("Uid", id+1) || st.FileID("Uid") != int(id) {
		t.Errorf("its user is %q", st["Uid"])
	}
}

// TestEnded is of a process that has ended, before and after its parent has waited for it.
func TestEnded(t *testing.T) {
	cmd := exec.Command(fixture.Path(t, "loop"), "1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	fd, err := pidfd(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if got := PIDOf(fd); got != pid {
		t.Errorf("its pidfd stands for %d, want %d", got, pid)
	}
	for n := 0; n >= 0; { // until its end
		if n, err = out.Read(make([]byte, 64)); err != nil {
			break
		}
	}
	for st, _ := ReadStatus(pid); !st.Ended(); st, _ = ReadStatus(pid) {
		if st == nil {
			t.Fatal("it has gone before its parent waited for it")
		}
	}
	if State(pid) != 'Z' {
		t.Errorf("its state is %c", State(pid))
	}
	if _, err := Started(pid); err != nil {
		t.Errorf("when it began: %v", err)
	}
	_ = cmd.Wait()
	if got := PIDOf(fd); got != -1 {
		t.Errorf("the pidfd of a process that has gone stands for %d", got)
	}
	if State(pid) != 0 || Comm(pid) != "" || Group(pid) != 0 || Image(pid) != "" || User(pid) != -1 || Read(pid, "stat", make([]byte, 9)) != nil {
		t.Error("a process that has gone has something")
	}
	if _, err := Started(pid); !os.IsNotExist(err) {
		t.Errorf("when a process began that has gone: %v", err)
	}
	if _, err := ReadStatus(pid); !os.IsNotExist(err) {
		t.Errorf("its status: %v", err)
	}
}

// TestName is of a process whose name looks like other fields.
func TestName(t *testing.T) {
	const name = ") Z 1 ("
	path := t.TempDir() + "/" + name
	text, err := os.ReadFile(fixture.Path(t, "loop"))
	if err == nil {
		err = os.WriteFile(path, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "1", "wait")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if State(pid) == 'Z' || State(pid) == 0 {
		t.Errorf("its state is %c", State(pid))
	}
	if got := Comm(pid); got != name {
		t.Errorf("its name is %q", got)
	}
	if ours, _ := Started(os.Getpid()); ours == 0 {
		t.Error("when this process began is not known")
	} else if theirs, err := Started(pid); err != nil || theirs < ours {
		t.Errorf("it began at %d, its parent at %d: %v", theirs, ours, err)
	}
}

// TestStatus reads lines as they may be.
func TestStatus(t *testing.T) {
	st := Status{"Uid": "1\t2\t1\t3", "Gid": "7\t7\t7\t8", "Groups": "4 5 x", "CapEff": "00000000000000ff", "State": "X (dead)", "Empty": ""}
	for _, c := range []struct{ got, want any }{
		{st.Number("Uid"), 1}, {st.First("Uid"), "1"}, {st.FileID("Uid"), 3}, {st.FileID("Empty"), -1},
		{st.Same("Uid", 1), false}, {st.Same("Gid", 7), true}, {st.Same("Gid", 8), false}, {st.Same("Empty", 0), false},
		{st.Hex("CapEff"), uint64(0xff)}, {st.Hex("Empty"), uint64(0)}, {st.Number("Empty"), 0}, {st.First("Empty"), ""},
		{fmt.Sprint(st.Groups()), "[4 5]"}, {st.Ended(), true}, {Status(nil).Number("Uid"), 0},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

// TestPath names files.
func TestPath(t *testing.T) {
	if got := Path(12, "fd/3"); got != "/proc/12/fd/3" {
		t.Error(got)
	}
	if got := MapFile(os.Getpid(), Mapping{Start: 0x1000, End: 0x2000}); !strings.HasSuffix(got, "/map_files/1000-2000") {
		t.Error(got)
	}
}

// pidfd is a descriptor for a process (pidfd_open(2)).
func pidfd(pid int) (int, error) {
	const open = 434 // on all machines
	fd, _, errno := syscall.Syscall(open, uintptr(pid), 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// TestRunning has a task that runs all the time, and one that waits for a line.
func TestRunning(t *testing.T) {
	var stop atomic.Bool
	var ended sync.WaitGroup
	tids := make(chan int)
	ended.Go(func() {
		runtime.LockOSThread()
		tids <- syscall.Gettid()
		for !stop.Load() {
		}
	})
	busy := <-tids
	got := Running(os.Getpid(), []int{busy})
	stop.Store(true)
	ended.Wait()
	if !got[busy] {
		t.Errorf("task %d does not run", busy)
	}
	pid := child(t)
	if got := Running(pid, []int{pid, 1 << 22}); got[1<<22] {
		t.Errorf("a task runs that there is not: %v", got)
	}
	for State(pid) != 'S' { // it is on its way to wait for the line
		runtime.Gosched()
	}
	if got := Running(pid, []int{pid}); got[pid] {
		t.Error("a task that waits for a line runs")
	}
	if got := Running(1<<22, []int{1}); len(got) > 0 {
		t.Errorf("of a process that there is not, %v run", got)
	}
}
