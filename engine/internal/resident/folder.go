package resident

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/ptracer/ptracer/procfs"
)

// Folders and files that another user may have made and may change at any time. Each is opened
// first and checked then, and nothing is found by its path a second time.

// oPath is O_PATH of open(2), the same on all architectures.
const oPath = 0x200000

// openFolder opens a folder that only the given user may enter. It follows no link. The error wraps
// ErrOwner if it is another's.
func openFolder(path string, uid int) (*os.File, error) {
	fd, err := syscall.Open(path, oPath|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
			err = ErrOwner
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	dir := os.NewFile(uintptr(fd), path)
	st, err := dir.Stat()
	if err == nil && (ownerOf(st) != uid || st.Mode().Perm() != 0o700) {
		err = fmt.Errorf("%s: %w", path, ErrOwner)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// ownerOf returns the id of a file's owner, or -1 if it is not known.
func ownerOf(st os.FileInfo) int {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(sys.Uid)
	}
	return -1
}

// within returns a path of a file in an open folder, wherever the folder has been moved.
func within(dir *os.File, name string) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), name)
}

// open opens a regular file of the store, of the store's user, of at most most bytes.
func (s *Store) open(name string, flags int, most int64) (*os.File, error) {
	return s.openOwned(name, flags, func(owner int) (int64, bool) { return most, owner == s.uid })
}

// openMaps opens a file of maps. In the reader's own folder, in which no other user makes files,
// the file belongs to the traced process's user, because that user must be able to open it. So that
// user can make the file as large as can be.
func (s *Store) openMaps(name string, flags int) (*os.File, error) {
	return s.openOwned(name, flags, func(owner int) (most int64, ok bool) {
		if owner == os.Geteuid() {
			return math.MaxInt64, owner == s.uid
		}
		return foreignMaps, owner == s.uid || !s.foreign()
	})
}

// openOwned opens a regular file of the store. may says how many bytes it may have, and whether its
// owner is one that it may have.
func (s *Store) openOwned(name string, flags int, may func(owner int) (most int64, ok bool)) (*os.File, error) {
	home, err := openFolder(filepath.Dir(s.dir), s.uid)
	if err != nil {
		return nil, err
	}
	defer home.Close()
	dir, err := openFolder(within(home, filepath.Base(s.dir)), s.uid)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	// O_NONBLOCK: a FIFO without a writer, or a lease on a file, is not waited for.
	f, err := os.OpenFile(within(dir, name), flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		owner := ownerOf(st)
		switch most, ok := may(owner); {
		case !ok || !st.Mode().IsRegular():
			err = fmt.Errorf("%s: %w", filepath.Join(s.dir, name), ErrOwner)
		case st.Size() > most:
			err = fmt.Errorf("%s: %w: more than %d bytes; user %d can read it", filepath.Join(s.dir, name), ErrLarge, most, owner)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// believed reports whether the reader trusts what the store says of a process: it is the reader's
// own, or belongs to the user that has the process.
func (s *Store) believed(pid int) bool {
	if !s.foreign() {
		return true
	}
	owner, ok := userOf(pid)
	return ok && owner == s.uid && (pid != s.pid || s.Alive())
}

// userOf returns the user that a process belongs to in all ways, as ptrace(2) checks it. It reports
// false for a set-user-ID program, and for a process that has taken another id for a while.
func userOf(pid int) (uid int, ok bool) {
	st, err := procfs.ReadStatus(pid)
	uid = st.Number("Uid")
	return uid, err == nil && st.Same("Uid", uint32(uid))
}
