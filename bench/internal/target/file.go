package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Program is an executable image.
type Program struct {
	*Image
	Path string   // of the file, for this process and its children
	dir  string   // the folder that Close removes
	file *os.File // in memory, if files can't be executed
}

// Install writes an image to a file of its own, in the folder for temporary files, or to memory, if
// programs there can't be executed.
func Install(img *Image) (*Program, error) {
	dir, err := os.MkdirTemp("", "ptracer-bench-")
	if err != nil {
		return inMemory(img)
	}
	p := &Program{Image: img, Path: filepath.Join(dir, "target"), dir: dir}
	if err := os.WriteFile(p.Path, img.File, 0o755); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil && fs.Flags&unix.ST_NOEXEC == 0 {
		return p, nil
	}
	if err := p.Close(); err != nil {
		return nil, err
	}
	return inMemory(img)
}

// inMemory keeps an image in a memory file, which other processes open by way of this process.
func inMemory(img *Image) (*Program, error) {
	f, err := memory("ptracer-bench", 0)
	if err != nil {
		return nil, err
	}
	p := &Program{Image: img, Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), file: f}
	if _, err := f.Write(img.File); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	// A file that is open for writing can't be executed (ETXTBSY).
	r, err := os.Open(p.Path)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	p.file, p.Path = r, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.Fd())
	return p, nil
}

// Close removes the file. Processes that run it must have ended.
func (p *Program) Close() error {
	if p.file != nil {
		return p.file.Close()
	}
	return os.RemoveAll(p.dir)
}

// memory makes a file in memory of size bytes.
func memory(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// share maps size bytes of a file.
func share(f *os.File, size int) (controlBlock, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return b, nil
}

// pin binds a thread to one CPU.
func pin(tid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return setAffinity(tid, &set)
}

func setAffinity(tid int, set *unix.CPUSet) error {
	if err := unix.SchedSetaffinity(tid, set); err != nil {
		return fmt.Errorf("CPUs of thread %d: %w", tid, err)
	}
	return nil
}

// affinity returns the CPUs that a thread may use.
func affinity(tid int) (*unix.CPUSet, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(tid, &set); err != nil {
		return nil, fmt.Errorf("CPUs of thread %d: %w", tid, err)
	}
	return &set, nil
}

func cpusOf(set *unix.CPUSet) (list []int) {
	for cpu := range 64 * len(set) {
		if set.IsSet(cpu) {
			list = append(list, cpu)
		}
	}
	return list
}

// LastCPU is the highest CPU that this process may use.
func LastCPU() int {
	set, err := affinity(0)
	if err != nil || set.Count() == 0 {
		return 0
	}
	cpus := cpusOf(set)
	return cpus[len(cpus)-1]
}

// retryBusy repeats f if it fails because another process that is just being forked still has the
// file open for writing.
func retryBusy(f func() error) error {
	for range 100 {
		if err := f(); !errors.Is(err, syscall.ETXTBSY) {
			return err
		}
		pause()
	}
	return f()
}
