package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// A server that a verb starts for itself: it has nothing of the verb's but its
// environment and, which can't be helped, its cgroup.

// idle is how long a server that was started for a verb waits for another tracer.
const idle = 5 * time.Second

// noServer is of a server that can't be started.
type noServer struct{ err error }

func (e *noServer) Error() string { return e.err.Error() }
func (e *noServer) Unwrap() error { return e.err }

// startServer runs 'ptracer serve' in the background and waits until it answers,
// or has failed.
func startServer(socket string) error {
	self, err := os.Executable()
	if err != nil {
		return &noServer{err}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return &noServer{err}
	}
	defer r.Close()
	keepFiles()
	cmd := exec.Command(self, "serve", "--socket", socket, "--idle", idle.String(), "--ready-fd", "3")
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		w.Close()
		return &noServer{err}
	}
	w.Close()
	go func() { _ = cmd.Wait() }()
	why := make([]byte, 1000)
	n, _ := r.Read(why)
	switch text := string(why[:n]); text {
	case serving:
		return nil
	case "":
		return &noServer{errors.New("it ended without a word")}
	default:
		return &noServer{errors.New(text)}
	}
}

// keepFiles keeps from a server what we have open from those who have started us: a
// pipe whose end somebody waits for, a lock.
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

// toLog has what we write to standard error go to the log. It is empty unless
// something has gone wrong, and is gone then.
func toLog(socket string) (done func(), err error) {
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

// lastWords is what a server that is gone has said of it, "" if nothing.
func lastWords(socket string) string {
	if fi, err := os.Stat(logOf(socket)); err == nil && fi.Size() > 0 {
		return "; it has left its last words in " + logOf(socket)
	}
	return ""
}
