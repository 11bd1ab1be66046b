package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// MakeFolder makes the folder of a socket, if it does not exist, for its user alone or for all
// users. The parent must exist. An existing folder must belong to the user: if other users may
// write to the parent, they could put a link, or a folder of their own, in its place.
func MakeFolder(path string, all bool) error {
	mode, dir := os.FileMode(0o700), filepath.Dir(path)
	if all {
		mode = 0o755
	}
	if err := os.Mkdir(dir, mode); !errors.Is(err, os.ErrExist) {
		return err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.IsDir() || int(st.Uid) != os.Geteuid() || fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s: that is not a folder that only user %d may write to: remove it, or give another --socket", dir, os.Geteuid())
	}
	return nil
}

// Listen makes the socket of a server, for its user alone or for all users. It replaces an existing
// socket at which no server answers. The folder must exist, and other users must not be able to
// write to it.
func Listen(path string, all bool) (*net.UnixListener, error) {
	mask := 0o177
	if all {
		mask = 0o111
	}
	if err := ownFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	if c, err := net.DialUnix("unix", nil, addr); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", path, ErrRunning)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	old := syscall.Umask(mask)
	l, err := net.ListenUnix("unix", addr)
	syscall.Umask(old)
	return l, err
}

// Passed returns the socket that the service manager has made for this process (sd_listen_fds(3)),
// nil if there is none.
func Passed() (*net.UnixListener, error) {
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return nil, nil
	}
	if n := os.Getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("the service manager passes %s sockets: want 1", n)
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	const first = 3 // SD_LISTEN_FDS_START
	f := os.NewFile(first, "socket")
	l, err := net.FileListener(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("the service manager's socket: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(errors.New("the service manager's socket is not a Unix socket"), l.Close())
	}
	u.SetUnlinkOnClose(false)
	return u, nil
}

// ErrRunning is returned for a socket at which a server answers already.
var ErrRunning = errors.New("a server runs there already")

// ownFolder refuses a folder in which other users could put a socket of theirs.
func ownFolder(dir string) error {
	fi, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w: make that folder, or give another --socket", dir, err.(*os.PathError).Err)
	}
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() && st.Uid != 0 || fi.Mode().Perm()&0o022 != 0 && fi.Mode()&os.ModeSticky == 0 {
		return fmt.Errorf("%s: others may write there: give another --socket", dir)
	}
	return nil
}
