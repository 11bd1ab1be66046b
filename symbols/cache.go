package symbols

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// Cache keeps Files, so that each object is opened and parsed once however
// many processes have it mapped. Its zero value is ready to use, by any number
// of goroutines. It holds a descriptor for each file until Close.
type Cache struct {
	mu     sync.Mutex
	files  map[any]*File
	budget elffile.Budget
}

// version is what a file on disk is known by.
type version struct {
	dev, ino uint64
	size     int64
	mtime    int64
}

func versionOf(st *syscall.Stat_t) version {
	return version{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano()}
}

// Close closes the files: tables that were read stay, others can't be any
// more.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files = nil
	return errors.Join(errs...)
}

// get returns the File for a key, made by open if it is new.
func (c *Cache) get(key any, open func() (*File, error)) (*File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.files[key]; f != nil {
		return f, nil
	}
	f, err := open()
	if err != nil {
		return nil, err
	}
	if c.files == nil {
		c.files = map[any]*File{}
	}
	c.files[key] = f
	return f, nil
}

// open opens the object that is mapped at m.
func (c *Cache) open(p process, m procfs.Mapping) (*File, error) {
	if m.Inode == 0 {
		return c.openMemory(p, m)
	}
	if f := c.have(p, m); f != nil {
		return f, nil
	}
	r, err := p.openMapped(m)
	if err != nil {
		return nil, err
	}
	st, err := objfile.Stat(r)
	if err == nil {
		err = elffile.MustBeELF(r)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	taken := false
	f, err := c.get(versionOf(st), func() (*File, error) {
		taken = true
		f, err := openFile(r, m.Path)
		if err == nil {
			f.root, f.obj.Budget = rootOf(p), &c.budget
		}
		return f, err
	})
	if !taken {
		r.Close()
	}
	return f, err
}

// have is the File of what is mapped at m, nil if it is not there yet. Nothing is opened: a
// tracer without a free descriptor still knows what was opened before.
func (c *Cache) have(p process, m procfs.Mapping) *File {
	v, ok := p.seen(m)
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.files[v]
}

// rootOf is the prefix under which a process's paths are to be found, "" if
// its root is this process's.
func rootOf(p process) string {
	root := p.path("root")
	theirs, err1 := os.Stat(root + "/")
	ours, err2 := os.Stat("/")
	if err1 != nil || err2 != nil || os.SameFile(theirs, ours) && sameNamespace(p) {
		return ""
	}
	return root
}

func sameNamespace(p process) bool {
	theirs, err1 := os.Readlink(p.path("ns/mnt"))
	ours, err2 := os.Readlink("/proc/self/ns/mnt")
	return err1 == nil && err2 == nil && theirs == ours
}

// openMemory makes a File of the vdso as it is in the process.
func (c *Cache) openMemory(p process, m procfs.Mapping) (*File, error) {
	b, err := p.memory(m)
	if err != nil {
		return nil, err
	}
	return c.get(sha256.Sum256(b), func() (*File, error) {
		return NewFile(bytes.NewReader(b), int64(len(b)), m.Path)
	})
}
