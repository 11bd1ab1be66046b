package server

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// worker is a worker process of a front's.
type worker struct {
	name string
	who  Identity
	cmd  *exec.Cmd
	conn *net.UnixConn
	had  int // connections, including those on their way; the front's lock protects it
	once sync.Once
	err  error // of its end
}

// startWorker starts a worker process. The process has the front's ids at first, and changes them
// itself (RunWorker): a process that started with another user's ids would have the front's memory
// until it executes a program.
//
// names is the file of a connection to the worker that keeps handlers by name, or nil. The new
// worker looks handlers up there.
func startWorker(name string, who Identity, names *os.File, program string, o FrontOptions) (*worker, error) {
	conn, theirs, err := pair(syscall.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	args := append(slices.Clone(o.Command[1:]), who.String())
	cmd := exec.Command(program, args...)
	cmd.Args[0], cmd.Dir, cmd.Env, cmd.Stderr, cmd.ExtraFiles = "ptracer", "/", o.Env, os.Stderr, []*os.File{theirs}
	if names != nil {
		cmd.Env, cmd.ExtraFiles = append(slices.Clone(o.Env), namesEnv+"=1"), append(cmd.ExtraFiles, names)
	}
	err = cmd.Start()
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go ptrace.KeepGoing(cmd.Process.Pid) // whatever signals its user sends
	return &worker{name: name, who: who, cmd: cmd, conn: conn}, nil
}

func (w *worker) pid() int { return w.cmd.Process.Pid }

// How long a worker may take to receive a connection, and to end.
const (
	giving  = time.Second
	ceasing = lastWords + 5*time.Second
)

// give hands a connection over. A worker that does not receive it in time loses it, since the
// worker's user can keep the worker from running.
func (w *worker) give(m message, c *net.UnixConn) error {
	_ = w.conn.SetWriteDeadline(time.Now().Add(giving))
	return send(w.conn, m, c)
}

// hasEnded reports whether an error of give means that the worker has ended.
func hasEnded(err error) bool { return !errors.Is(err, os.ErrDeadlineExceeded) }

// say sends the worker a message without a connection.
func (w *worker) say(k kind) {
	_ = w.conn.SetWriteDeadline(time.Now().Add(giving))
	_ = send(w.conn, message{Kind: k}, nil)
}

// wait waits for the end of the process.
func (w *worker) wait() error {
	w.once.Do(func() {
		w.err = w.cmd.Wait()
		w.conn.Close()
	})
	return w.err
}

// end makes the worker detach from its processes and end. If it does not, since its user keeps it
// from running, it is killed: its processes continue in either case.
func (w *worker) end() error {
	w.say(ending)
	kill := time.AfterFunc(ceasing, func() { _ = w.cmd.Process.Kill() })
	defer kill.Stop()
	return w.wait()
}
