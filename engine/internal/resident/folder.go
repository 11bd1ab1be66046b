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

// Folders and files that another user may have made, and may change at any time: each is
// opened first and looked at then, and nothing is found by its path again.

// oPath is O_PATH of open(2), the same on all architectures.
const oPath = 0x200000

// openFolder opens a folder, and no link to one, that nobody but a user may enter.
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

// ownerOf is the user whose a file is; -1 if that is not known.
func ownerOf(st os.FileInfo) int {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(sys.Uid)
	}
	return -1
}

// within is the path of a file in an open folder, wherever that has gone meanwhile.
func within(dir *os.File, name string) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), name)
}

// open opens a file of the store: a regular one, of its user's, of most bytes.
func (s *Store) open(name string, flags int, most int64) (*os.File, error) {
	return s.openOwned(name, flags, func(owner int) (int64, bool) { return most, owner == s.uid })
}

// openMaps opens a file of maps. In the reader's own folder, in which no other user makes
// files, it is the traced process's user's, who must be able to open it; that user can make it
// as large as can be.
func (s *Store) openMaps(name string, flags int) (*os.File, error) {
	return s.openOwned(name, flags, func(owner int) (most int64, ok bool) {
		if owner == os.Geteuid() {
			return math.MaxInt64, owner == s.uid
		}
		return foreignMaps, owner == s.uid || !s.foreign()
	})
}

// openOwned opens a regular file of the store, whose owner may have it, with most bytes.
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
	// A FIFO without a writer, or a lease on a file, is not waited for.
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

// believed is whether what the store says of a process is the reader's own, or of who
// has that process.
func (s *Store) believed(pid int) bool {
	if !s.foreign() {
		return true
	}
	owner, ok := userOf(pid)
	return ok && owner == s.uid && (pid != s.pid || s.Alive())
}

// userOf is the user whose a process is in all ways, as ptrace(2) asks it: the owner of a
// program that is set-user-ID, or that has taken another's id for a while, is not.
func userOf(pid int) (uid int, ok bool) {
	st, err := procfs.ReadStatus(pid)
	uid = st.Number("Uid")
	return uid, err == nil && st.Same("Uid", uint32(uid))
}
