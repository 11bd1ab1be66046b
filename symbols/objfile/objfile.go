// Package objfile opens what is to be read as an object: nothing but regular files, wherever they
// come from, and the very file that is mapped. What could not be opened or read is told with the reason.
package objfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/procfs"
)

// What is read lies where the traced program says, or what has made it: it may be
// anything, and under another's name.

// ErrNotRegular is wrapped by errors about what is no file but a FIFO, a device, a folder.
var ErrNotRegular = errors.New("not a regular file")

// oPath is O_PATH of open(2), the same on all architectures: what lies there is found and
// not opened.
const oPath = 0x200000

// Open opens a regular file for reading. Anything else is not opened at all: a FIFO
// keeps the caller waiting, and a device may do something. Nor is a file waited for whose
// owner has a lease on it (fcntl(2)).
func Open(path string) (*os.File, error) {
	at, err := openFD(path, oPath)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(at)
	var st syscall.Stat_t
	if err := syscall.Fstat(at, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, fmt.Errorf("%s: %w", path, ErrNotRegular)
	}
	fd, err := openFD(fmt.Sprintf("/proc/self/fd/%d", at), syscall.O_RDONLY|syscall.O_NONBLOCK)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openFD(path string, flags int) (fd int, err error) {
	for {
		if fd, err = syscall.Open(path, flags|syscall.O_CLOEXEC, 0); !errors.Is(err, syscall.EINTR) {
			return fd, err
		}
	}
}

// Stat is what fstat(2) says of a file.
func Stat(f *os.File) (*syscall.Stat_t, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return st.Sys().(*syscall.Stat_t), nil // so it is on Linux
}

// IsFileOf reports whether f is the file that is mapped at m.
func IsFileOf(f *os.File, m procfs.Mapping) bool {
	st, err := Stat(f)
	if err != nil {
		return false
	}
	if st.Ino == m.Inode && Device(uint64(st.Dev)) == m.Dev {
		return true
	}
	// File systems that lie on others or in parts of one (overlayfs, btrfs) have other
	// numbers in /proc/PID/maps than stat(2) gives: those of f are seen where it is mapped.
	dev, inode, err := mappedAs(f)
	return err == nil && dev == m.Dev && inode == m.Inode
}

// Device is a device's number as /proc/PID/maps has it (new_encode_dev, linux/kdev_t.h).
func Device(dev uint64) string {
	major, minor := dev>>8&0xfff|dev>>32&^0xfff, dev&0xff|dev>>12&^0xff
	return fmt.Sprintf("%02x:%02x", major&0xffffffff, minor&0xffffffff)
}

// mappedAs is by which numbers /proc/PID/maps has a file: a page of it is mapped to see.
func mappedAs(f *os.File) (dev string, inode uint64, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return "", 0, err
	}
	var page []byte
	var refused error
	err = conn.Control(func(fd uintptr) { page, refused = syscall.Mmap(int(fd), 0, 1, syscall.PROT_READ, syscall.MAP_PRIVATE) })
	if err = errors.Join(err, refused); err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, syscall.Munmap(page)) }()
	maps, err := procfs.Maps(os.Getpid())
	if err != nil {
		return "", 0, err
	}
	at := arch.Addr(uintptr(unsafe.Pointer(unsafe.SliceData(page))))
	for _, m := range maps {
		if m.Contains(at) {
			return m.Dev, m.Inode, nil
		}
	}
	return "", 0, fmt.Errorf("mapping of %s: %w", f.Name(), os.ErrNotExist)
}
