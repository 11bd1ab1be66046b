// Package ring is memory that is shared with traced programs, and the rings of
// records that lie in it.
//
// Memory. A Region is an unnamed file in memory, sealed at its size, so that
// nobody who has it can take memory away from under somebody else. What lies in
// it is referred to by offsets: each process maps it where it likes.
//
// Ring. Many writers, in any process that has the region, one reader. A record
// is a word, the header, and its bytes, padded to 8. A writer claims the place at
// the ring's tail by one compare-and-swap of the word there, from the tag that
// says "free, for this position" to the header of a busy record, which has its
// length and the writer's thread id; then it moves the tail behind it, which
// everybody else does in its stead if they find that it has not. Submitting is
// one store. Nobody ever waits for anybody: a writer that dies leaves at most a
// busy record, and a reader that is told that the thread is gone skips it.
//
// The reader gives space back by writing the tags of the next lap over all words
// of a record. A tag is made of the position, which never comes again, so a
// writer that slept over a lap can't take a word of today for the one it saw.
//
// What a traced program can write it can spoil: nothing that is read from a
// region is believed without a check, and everything done with it ends.
//
// The package is one of the doors to the kernel, for memory only. It imports
// nothing of the module.
package ring

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Region is memory that processes share.
type Region struct {
	data []byte
	file *os.File
}

// seals keep a region's size as it is.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// maxRegion is the most that is mapped, in bytes.
const maxRegion = 1 << 36

// Create makes a region of size bytes, all 0. The name shows in /proc/PID/maps.
// Errors are the kernel's.
func Create(name string, size int) (*Region, error) {
	if size <= 0 || size > maxRegion {
		return nil, fmt.Errorf("shared memory of %d bytes: there are 1 to %d", size, maxRegion)
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("shared memory: %w", os.NewSyscallError("memfd_create", err))
	}
	file := os.NewFile(uintptr(fd), name)
	if err = unix.Ftruncate(fd, int64(size)); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("shared memory of %d bytes: %w", size, err)
	}
	return mapped(file, size, unix.PROT_READ|unix.PROT_WRITE)
}

// CreateIn makes a region in a file of ours, new and empty, that others may map
// but not shorten. The file is the region's from then on, also after an error.
func CreateIn(file *os.File, size int) (*Region, error) {
	if size <= 0 || size > maxRegion {
		file.Close()
		return nil, fmt.Errorf("shared memory of %d bytes: there are 1 to %d", size, maxRegion)
	}
	if err := file.Truncate(int64(size)); err != nil {
		file.Close()
		return nil, fmt.Errorf("shared memory of %d bytes: %w", size, err)
	}
	return mapped(file, size, unix.PROT_READ|unix.PROT_WRITE)
}

// ErrRegion is wrapped by errors about what is no region, or not a sound one.
var ErrRegion = errors.New("not ptracer's shared memory")

// Open maps a region that another process has made. The file is the region's
// from then on, if there is no error.
func Open(file *os.File) (*Region, error) {
	return openSealed(file, unix.PROT_READ|unix.PROT_WRITE)
}

// OpenToRead is Open of a file that may be open for reading only. A write to the
// region's memory would be fatal.
func OpenToRead(file *os.File) (*Region, error) { return openSealed(file, unix.PROT_READ) }

func openSealed(file *os.File, prot int) (*Region, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	have, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || have&unix.F_SEAL_SHRINK == 0 {
		return nil, fmt.Errorf("%w: its size is not sealed", ErrRegion)
	}
	return openSized(file, info, prot)
}

// OpenOwn maps a region that CreateIn has made in a file that only we can
// shorten. The file is the region's from then on, if there is no error.
func OpenOwn(file *os.File) (*Region, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return openSized(file, info, unix.PROT_READ|unix.PROT_WRITE)
}

func openSized(file *os.File, info os.FileInfo, prot int) (*Region, error) {
	if info.Size() <= 0 || info.Size() > maxRegion {
		return nil, fmt.Errorf("%w: %d bytes", ErrRegion, info.Size())
	}
	return mapped(file, int(info.Size()), prot)
}

func mapped(file *os.File, size, prot int) (*Region, error) {
	data, err := unix.Mmap(int(file.Fd()), 0, size, prot, unix.MAP_SHARED)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("map %d bytes of shared memory: %w", size, err)
	}
	return &Region{data: data, file: file}, nil
}

// Bytes are the region's memory. They are gone after Close.
func (r *Region) Bytes() []byte { return r.data }

// File is what other processes map it from.
func (r *Region) File() *os.File { return r.file }

// Close takes the region out of this process.
func (r *Region) Close() error {
	if r.data == nil {
		return os.ErrClosed
	}
	err := unix.Munmap(r.data)
	r.data = nil
	return errors.Join(err, r.file.Close())
}

// Word is the word at off in shared memory, which is a multiple of 8.
func Word(b []byte, off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&b[off : off+8][0]))
}
