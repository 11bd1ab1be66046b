package engine

import (
	"errors"
	"os"
	"os/exec"

	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// AddProcess implements Session.
func (s *session) AddProcess(pid int) error {
	if err := refuse(pid); err != nil {
		return err
	}
	return s.loop.Do(func() error { return s.life.Attach(pid, nil) })
}

// start launches a program; it stands, held for the tracer, before its first
// instruction.
func (s *session) start(cmd Command) error {
	path, err := exec.LookPath(cmd.Path)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return err
	}
	files, closeNull, err := filesOf(&cmd)
	if err != nil {
		return err
	}
	defer closeNull()
	c := ptrace.Command{Path: path, Args: append([]string{cmd.Path}, cmd.Args...), Env: cmd.Env,
		Dir: cmd.Dir, Files: files, NoASLR: cmd.NoASLR, Ignored: ptrace.IgnoredAtStart()}
	return s.loop.Do(func() error {
		pid, err := ptrace.Launch(c, ptrace.Follow|ptrace.BeforeExit)
		if err != nil {
			return access.ExplainOwn(err)
		}
		return s.life.AdoptChild(pid)
	})
}

// filesOf are the descriptors of a new program, /dev/null where none is given.
func filesOf(c *Command) (fds []uintptr, done func(), err error) {
	var null *os.File
	done = func() {
		if null != nil {
			null.Close()
		}
	}
	for _, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		if f == nil {
			if null == nil {
				if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
					return nil, done, err
				}
			}
			f = null
		}
		fds = append(fds, f.Fd())
	}
	return fds, done, nil
}
