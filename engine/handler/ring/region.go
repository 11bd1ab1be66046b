// Package ring implements memory that is shared with traced programs, and the rings of records in
// it.
//
// Memory. A Region is an unnamed file in memory, sealed at its size, so that no process that has it
// can remove memory that another has mapped. Its contents are referred to by offsets: each process
// maps it at an address of its own.
//
// Ring. It has many writers, in any process that has the region, and one reader. A record is a
// word, the header, and its bytes, padded to 8. A writer claims the place at the ring's tail with
// one compare-and-swap of the word there, from the tag that means "free, for this position" to the
// header of a busy record, with its length and the writer's thread id. Then it moves the tail
// behind the record. Other writers do that in its place if they find the tail behind. Submitting is
// one store. No thread ever waits for another: a writer that dies leaves at most a busy record, and
// the reader skips it when it learns that the thread has ended.
//
// The reader releases space by writing the tags of the next lap over all words of a record. A tag
// is made of the position, which never repeats, so that a writer that was delayed for a lap can't
// take a present word for the one it saw.
//
// A traced program can corrupt all memory that it can write: the package checks everything that it
// reads from a region, and every operation ends.
//
// The package is one of the doors to the kernel, for memory only. It imports nothing of the module.
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

// seals keep the region's size unchanged.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// maxRegion is the largest region, in bytes.
const maxRegion = 1 << 36

// Create makes a region of size bytes, all 0. The name appears in /proc/PID/maps. Errors are the
// kernel's.
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

// CreateIn makes a region in a new and empty file of the caller's that other users may map but not
// shorten. The region owns the file from then on, also after an error.
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

// ErrRegion is wrapped by errors about files that are no region, or a corrupt one.
var ErrRegion = errors.New("not ptracer's shared memory")

// Open maps a region that another process has made. If there is no error, the region owns the file.
func Open(file *os.File) (*Region, error) {
	return openSealed(file, unix.PROT_READ|unix.PROT_WRITE)
}

// OpenToRead is Open for a file that may be open for reading only. A write to the region's memory
// would kill this process.
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

// OpenOwn maps a region that CreateIn has made in a file that only this user can shorten. If there
// is no error, the region owns the file.
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

// Bytes is the region's memory. It is invalid after Close.
func (r *Region) Bytes() []byte { return r.data }

// File is the file that other processes map the region from.
func (r *Region) File() *os.File { return r.file }

// Close unmaps the region.
func (r *Region) Close() error {
	if r.data == nil {
		return os.ErrClosed
	}
	err := unix.Munmap(r.data)
	r.data = nil
	return errors.Join(err, r.file.Close())
}

// Word returns the word at off in shared memory; off is a multiple of 8.
func Word(b []byte, off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&b[off : off+8][0]))
}
