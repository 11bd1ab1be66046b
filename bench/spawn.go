package bench

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// peerPatience is how long a tool may take to start, or to end.
const peerPatience = 20 * time.Second

// spawned is a command in the background, and its output.
type spawned struct {
	cmd   *exec.Cmd
	ended chan error

	mu   sync.Mutex
	out  bytes.Buffer
	said chan struct{} // there is more output
}

// spawn starts an installed program.
func spawn(program string, args ...string) (*spawned, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, errNotInstalled)
	}
	s := &spawned{cmd: exec.Command(path, args...), ended: make(chan error, 1), said: make(chan struct{}, 1)}
	s.cmd.Stdout, s.cmd.Stderr = s, s
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // keeps a terminal's Ctrl-C from it
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.cmd.Wait() }()
	return s, nil
}

// Write receives the command's output.
func (s *spawned) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.said <- struct{}{}:
	default:
	}
	return s.out.Write(b)
}

func (s *spawned) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// until waits until the output has a word; "" returns at once.
func (s *spawned) until(word string) error {
	timeout := time.After(peerPatience)
	for !strings.Contains(s.text(), word) {
		select {
		case <-s.said:
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("%s has ended: %q", s.cmd.Args[0], tail(s.text()))
		case <-timeout:
			return fmt.Errorf("%s is not ready after %v: %q", s.cmd.Args[0], peerPatience, tail(s.text()))
		}
	}
	return nil
}

// interrupt sends the signal of Ctrl-C.
func (s *spawned) interrupt() error { return s.cmd.Process.Signal(syscall.SIGINT) }

// end waits until the command ends by itself, and returns its output.
func (s *spawned) end() (string, error) {
	select {
	case err := <-s.ended:
		s.ended <- err
		return s.text(), nil
	case <-time.After(peerPatience):
		s.kill()
		return "", fmt.Errorf("%s does not end: %q", s.cmd.Args[0], tail(s.text()))
	}
}

// kill kills the command, and waits for its end.
func (s *spawned) kill() {
	_ = s.cmd.Process.Kill()
	err := <-s.ended
	s.ended <- err
}

// tail returns the end of a command's output.
func tail(s string) string {
	const most = 120
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = "..." + s[len(s)-most:]
	}
	return s
}
