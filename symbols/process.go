package symbols

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ptracer/ptracer/arch"
)

// process is what /proc says about a process as a whole.
type process struct {
	pid, task   int       // task shows its memory; see LiveTask
	exe         string    // "" if unknown
	entry, base arch.Addr // AT_ENTRY and AT_BASE, 0 if unknown
}

// Types of words in the auxiliary vector (getauxval(3)).
const (
	atBase  = 7
	atEntry = 9
)

func newProcess(pid int) process {
	p := process{pid: pid, task: LiveTask(pid)}
	p.exe, _ = os.Readlink(p.path("exe"))
	b, _ := os.ReadFile(p.path("auxv"))
	for ; len(b) >= 16; b = b[16:] {
		switch v := arch.Addr(binary.LittleEndian.Uint64(b[8:])); binary.LittleEndian.Uint64(b) {
		case atBase:
			p.base = v
		case atEntry:
			p.entry = v
		}
	}
	return p
}

func (p process) path(name string) string { return fmt.Sprintf("/proc/%d/%s", p.task, name) }

// mark finds the main program and the loader among mods: by where the kernel
// told the program they are, else by their names.
func (p process) mark(mods []Module) {
	found := false
	for i := range mods {
		m := &mods[i]
		m.Main = p.entry != 0 && m.Bias+m.File.Entry() == p.entry && !found
		found = found || m.Main
		if p.base != 0 {
			m.Loader = m.Bias+m.firstVaddr() == p.base
		}
	}
	for i := range mods {
		m := &mods[i]
		if !found && (m.Path == p.exe || m.Path+" (deleted)" == p.exe) {
			m.Main, found = true, true
		}
		m.Loader = m.Loader || p.base == 0 && isLoaderName(m.Path)
		if m.Main {
			m.Called = calledNames(p, m.Path)
		}
	}
}

// calledNames are the names that a process goes by: the kernel's, and the first
// word of its command line. Debian's redis-server is a link to redis-check-rdb.
func calledNames(p process, path string) (names []string) {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.pid))
	line, _ := os.ReadFile(p.path("cmdline"))
	argv0, _, _ := strings.Cut(string(line), "\x00")
	word, _, _ := strings.Cut(argv0, " ")
	for _, name := range []string{strings.TrimSpace(string(comm)), filepath.Base(strings.TrimSuffix(word, ":"))} {
		if name != "" && name != "." && name != filepath.Base(path) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// firstVaddr is the page of the first segment: AT_BASE is where it lies.
func (m Module) firstVaddr() arch.Addr {
	start, _ := m.File.obj.extent()
	return start
}

// openMapped opens the very file that is mapped at m: by its path as the
// process sees it if that is still the same file, else by the link that the
// kernel has for the mapping, else by the one it has for the program.
func (p process) openMapped(m Mapping) (*os.File, error) {
	var errs []error
	paths := []string{p.path("root") + m.Path, p.path(fmt.Sprintf("map_files/%x-%x", uint64(m.Start), uint64(m.End)))}
	if m.Deleted || !filepath.IsAbs(m.Path) {
		paths = paths[1:]
	}
	if name := m.Path; name == p.exe || name+" (deleted)" == p.exe {
		paths = append(paths, p.path("exe"))
	}
	for _, path := range paths {
		f, err := openRegular(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// A link of the kernel's is exact, whatever number a stacked file
		// system gives the file.
		if st, ok := stat(f); ok && (st.Ino == m.Inode || path != p.path("root")+m.Path) {
			return f, nil
		}
		f.Close()
		errs = append(errs, fmt.Errorf("%s: another file by now: %w", path, ErrNotFound))
	}
	return nil, errors.Join(errs...)
}

// openRegular opens a file for reading unless that could block or have an
// effect, as with devices.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", path, errNotELF)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func stat(f *os.File) (*syscall.Stat_t, bool) {
	st, err := f.Stat()
	if err != nil {
		return nil, false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return sys, ok
}

// maxVDSO is more than the kernel's code for processes has.
const maxVDSO = 1 << 20

// memory reads what is mapped at m from the process.
func (p process) memory(m Mapping) ([]byte, error) {
	if m.End-m.Start > maxVDSO {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, m.End-m.Start)
	}
	f, err := os.Open(p.path("mem"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, m.End-m.Start)
	if n, err := f.ReadAt(b, int64(m.Start)); n < len(b) {
		return nil, fmt.Errorf("read %d bytes at %s: %w", len(b), m.Start, noEOF(err))
	}
	return b, nil
}

// isELF looks at the first bytes.
func isELF(r io.ReaderAt) bool {
	var magic [4]byte
	n, _ := r.ReadAt(magic[:], 0)
	return n == 4 && string(magic[:]) == "\x7fELF"
}
