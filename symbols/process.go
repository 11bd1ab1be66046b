package symbols

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/objfile"
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
	p := process{pid: pid, task: procfs.LiveTask(pid)}
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

func (p process) path(name string) string { return procfs.Path(p.task, name) }

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
		m.Loader = m.Loader || p.base == 0 && objfile.IsLoaderName(m.Path)
		if m.Main {
			m.Called = calledNames(p, m.Path)
		}
	}
}

// calledNames are the names that a process goes by: the kernel's, and the first
// word of its command line. Debian's redis-server is a link to redis-check-rdb.
func calledNames(p process, path string) (names []string) {
	comm, _ := os.ReadFile(procfs.Path(p.pid, "comm"))
	argv0, _, _ := strings.Cut(string(p.commandLine()), "\x00")
	word, _, _ := strings.Cut(argv0, " ")
	for _, name := range []string{strings.TrimSpace(string(comm)), filepath.Base(strings.TrimSuffix(word, ":"))} {
		if name != "" && name != "." && name != filepath.Base(path) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// commandLine is its start: a process may say that it lies in any of its memory, and that
// it has terabytes (PR_SET_MM_MAP of prctl(2)).
func (p process) commandLine() []byte {
	f, err := os.Open(p.path("cmdline"))
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, elffile.PageSize)
	n, _ := io.ReadFull(f, b)
	return b[:n]
}

// firstVaddr is the page of the first segment: AT_BASE is where it lies.
func (m Module) firstVaddr() arch.Addr {
	start, _ := m.File.obj.Extent()
	return start
}

// waysTo are the paths by which the file that is mapped at m may be had: the link that the
// kernel has for the mapping, which only some may follow; its path as the process sees it, or
// the program's link, if the same file is there.
func (p process) waysTo(m procfs.Mapping) []string {
	paths := []string{p.path(fmt.Sprintf("map_files/%x-%x", uint64(m.Start), uint64(m.End)))}
	if !m.Deleted && filepath.IsAbs(m.Path) {
		paths = append(paths, p.path("root")+m.Path)
	}
	if name := m.Path; name == p.exe || name+" (deleted)" == p.exe {
		paths = append(paths, p.path("exe"))
	}
	return paths
}

// openMapped opens the very file that is mapped at m.
func (p process) openMapped(m procfs.Mapping) (*os.File, error) {
	var errs []error
	for i, path := range p.waysTo(m) {
		f, err := objfile.Open(path)
		if err == nil && i > 0 && !objfile.IsFileOf(f, m) {
			f.Close()
			err = objfile.ErrReplaced
		}
		if err == nil {
			return f, nil
		}
		errs = append(errs, err)
	}
	return nil, objfile.Cause(errs)
}

// seen is the version of the file that is mapped at m, where stat(2) tells it: it needs no
// descriptor.
func (p process) seen(m procfs.Mapping) (v version, ok bool) {
	for i, path := range p.waysTo(m) {
		var st syscall.Stat_t
		if syscall.Stat(path, &st) != nil || i > 0 && (st.Ino != m.Inode || objfile.Device(uint64(st.Dev)) != m.Dev) {
			continue
		}
		return versionOf(&st), true
	}
	return version{}, false
}

// maxVDSO is more than the kernel's code for processes has.
const maxVDSO = 1 << 20

// memory reads what is mapped at m from the process.
func (p process) memory(m procfs.Mapping) ([]byte, error) {
	if m.End-m.Start > maxVDSO {
		return nil, fmt.Errorf("%w: %d bytes", elffile.ErrFormat, m.End-m.Start)
	}
	f, err := os.Open(p.path("mem"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, m.End-m.Start)
	if n, err := f.ReadAt(b, int64(m.Start)); n < len(b) {
		return nil, fmt.Errorf("read %d bytes at %s: %w", len(b), m.Start, elffile.NoEOF(err))
	}
	return b, nil
}
