package server

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestListen makes sockets: for their user alone, for all users, and in place of a dead one; and
// not where others could put theirs, where a server answers, or where there is no folder.
func TestListen(t *testing.T) {
	dir := t.TempDir()
	for all, want := range map[bool][2]os.FileMode{false: {0o700, 0o600}, true: {0o755, 0o666}} {
		path := filepath.Join(dir, fmt.Sprint(all), "s")
		if _, err := Listen(path, all); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "make that folder") {
			t.Errorf("in a folder that is not there: %v", err)
		}
		err := MakeFolder(path, all)
		l, err2 := Listen(path, all)
		if err := errors.Join(err, err2, MakeFolder(path, all)); err != nil {
			t.Fatal(err)
		}
		for i, p := range []string{filepath.Dir(path), path} {
			if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != want[i] {
				t.Errorf("%s: %v, %v, want %v", p, fi.Mode(), err, want[i])
			}
		}
		if _, err := Listen(path, all); !errors.Is(err, ErrRunning) {
			t.Errorf("a second server: %v", err)
		}
		l.SetUnlinkOnClose(false) // as after the server was killed
		l.Close()
		if l, err = Listen(path, all); err != nil {
			t.Errorf("in the place of a dead one: %v", err)
		} else {
			l.Close()
		}
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(open, "s"), false); err == nil || !strings.Contains(err.Error(), "others may write") {
		t.Errorf("where others may write: %v", err)
	}
}

// serve starts a server of the test.
func serve(t *testing.T, o Options) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, false)
	if err != nil {
		t.Fatal(err)
	}
	s := New(o)
	end := make(chan error)
	go func() { end <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-end); err != nil {
			t.Error(err)
		}
	})
	return path
}

// TestNonsense has peers send meaningless bytes: the server answers or hangs up, and goes on.
func TestNonsense(t *testing.T) {
	path := serve(t, Options{})
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for _, c := range []struct{ say, want string }{
		{"PTRACER MAPS x 1\n", "no such tracer"},
		{"PTRACER READ 1 1\n", "no such tracer"},
		{"PTRACER READ x 1\n", "no such tracer"},
		{"PTRACER MAPS x y\n", "not a valid request"},
		{"PTRACER MAPS \n", "not a valid request"},
		{"PTRACER MAPS " + strings.Repeat("x", 1000) + "\n", ""},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		{string(noise), ""},
		{"", ""},
	} {
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, c.say)
		_ = conn.(*net.UnixConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		b, err := io.ReadAll(conn)
		if c.want != "" && strings.TrimSpace(string(b)) != c.want || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q: answered by %q, %v", c.say, b, err)
		}
		conn.Close()
	}
}

// TestMakeFolder finds a link, and folders that other users may write to, in place of the folder.
func TestMakeFolder(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	err := errors.Join(os.Mkdir(there, 0o700), os.Symlink(there, filepath.Join(dir, "link")), os.Mkdir(filepath.Join(dir, "open"), 0o700),
		os.Chmod(filepath.Join(dir, "open"), 0o1777), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{"new": true, "there": true, "link": false, "open": false, "file": false} {
		if err := MakeFolder(filepath.Join(dir, name, "socket"), false); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chown(there, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := MakeFolder(filepath.Join(there, "socket"), false); err == nil {
		t.Error("another user's folder is taken")
	}
}

// TestServeAfterClose closes each kind of server before it serves: Serve returns, and the socket is
// gone.
func TestServeAfterClose(t *testing.T) {
	type kind interface {
		Serve(l *net.UnixListener) error
		Close() error
	}
	for name, s := range map[string]kind{
		"a user's":   New(Options{}),
		"all users'": NewFront(FrontOptions{Command: []string{"false"}}),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := Listen(path, false)
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			end := make(chan error, 1)
			go func() { end <- s.Serve(l) }()
			select {
			case err := <-end:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				l.Close()
				t.Fatal("it serves")
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket: %v", err)
			}
		})
	}
}
