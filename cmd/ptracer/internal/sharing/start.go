package sharing

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// Serving is what a server says to the verb that has started it, when it answers.
const Serving = "serving"

// A server that a verb starts for itself: it has nothing of the verb's but its
// environment and, which can't be helped, its cgroup.

// idle is how long a server that was started for a verb waits for another tracer.
const idle = 5 * time.Second

// Unreachable is of a server that can't be started.
type Unreachable struct{ err error }

// Error implements error.
func (e *Unreachable) Error() string { return e.err.Error() }

// Unwrap is why the server could not be started.
func (e *Unreachable) Unwrap() error { return e.err }

// StartServer runs 'ptracer serve' in the background and waits until it answers,
// or has failed.
func StartServer(socket string) error {
	self, err := os.Executable()
	if err != nil {
		return &Unreachable{err}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return &Unreachable{err}
	}
	defer r.Close()
	keepFiles()
	cmd := exec.Command(self, "serve", "--socket", socket, "--idle", idle.String(), "--ready-fd", "3")
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		w.Close()
		return &Unreachable{err}
	}
	w.Close()
	go func() { _ = cmd.Wait() }()
	why := make([]byte, 1000)
	n, _ := r.Read(why)
	switch text := string(why[:n]); text {
	case Serving:
		return nil
	case "":
		return &Unreachable{errors.New("it ended without a word")}
	default:
		return &Unreachable{errors.New(text)}
	}
}

// keepFiles keeps from a server what ptracer has open from its parents: a pipe whose end
// one of them waits for, a lock.
func keepFiles() {
	const standard = 2 // input, output and errors, of which it has its own
	names, _ := os.ReadDir("/proc/self/fd")
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil && fd > standard {
			syscall.CloseOnExec(fd)
		}
	}
}

// logOf is where a server that was started for a verb says what goes wrong with
// it.
func logOf(socket string) string { return socket + ".log" }

// ToLog has what the server writes to standard error go to the log. It is empty unless
// something has gone wrong, and is gone then.
func ToLog(socket string) (done func(), err error) {
	path := logOf(socket)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Dup3(int(f.Fd()), 2, 0); err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		if fi, err := f.Stat(); err == nil && fi.Size() == 0 {
			_ = os.Remove(path)
		}
		f.Close()
	}, nil
}

// LastWords is what a server that is gone has said of it, "" if nothing.
func LastWords(socket string) string {
	if fi, err := os.Stat(logOf(socket)); err == nil && fi.Size() > 0 {
		return "; it has left its last words in " + logOf(socket)
	}
	return ""
}
