package clean

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/procfs"
)

// How a tracer finds what a dead one has left. A tracer may die at each of its steps, and so may
// the next one while it cleans up. So everything that is put into a process has a mark by which it
// is known, or is noted before it is there:
//
//	a stub            has a note before it, with a magic word: written in one
//	a mapping         the note of the stub that makes it says where it is going to be,
//	                  until it has a mark
//	an area, a library   its header
//	the guard's page     a magic word, and the base area's header says where it is
//	a copy of syscall()  a magic word, and the list in the guard's page
//	a region          the list in the guard's page; the mapping has the name of ptracer's file
//	an open file      the path in the guard's page, which is wiped when it is closed
//
// What is only noted may not be there yet, or may be gone, and the program may have something else
// at the place: before it is taken away it is compared with what it must be. Things go in the
// opposite order in which they come. The base area is last, because it leads to all others.
// DECISIONS.md, "Each step may be the last", has the table.

// oldScratch returns where a dead tracer had its stubs before it had an area; 0: nowhere.
func (c *Cleaner) oldScratch(space *inferior.Space, maps []procfs.Mapping) arch.Addr {
	for _, m := range maps {
		if !m.Executable() || m.Path == "[vsyscall]" {
			continue
		}
		at := m.End - arch.Addr(c.remote.ScratchRoom())
		if _, ok := remote.ReadNote(space.Memory, at); ok && at > m.Start {
			return at
		}
	}
	return 0
}

// doubtful returns the mapping that a dead tracer was about to make or to unmap, if it is there and
// nothing else tells of it: nothing has been written into it yet. A mapping that was about to go
// may be gone, and the program may have one at the place. But the program's is not executable and
// empty.
func (c *Cleaner) doubtful(space *inferior.Space, table *breakpoint.Table, maps []procfs.Mapping) (list []inproc.Region) {
	places := []arch.Addr{space.Scratch}
	if table.Prepared() {
		at, _ := table.Stub()
		places = append(places, at)
	}
	for _, at := range places {
		note, ok := remote.ReadNote(space.Memory, at)
		r := inproc.Region{Addr: note.Addr, Size: note.Size}
		if !ok || r.Size <= 0 || table.InArea(r.Addr) || r.Addr == space.Guard.Data || c.inproc.IsRegion(space, r.Addr) {
			continue
		}
		if m := inproc.MappingOf(maps, r); m != nil && (m.Path != "" && inproc.IsShared(m) || m.Path == "" && (note.Call == ptrace.SysMmap || m.Perm == "r-xp") && inproc.Untouched(space.Memory, r)) {
			list = append(list, r)
		}
	}
	return list
}

// oldFiles returns the descriptors that a process has opened for a dead tracer and not closed. Only
// then is there a path in the guard's page.
func oldFiles(p *inferior.Process) (fds []int) {
	var b [16]byte
	if data := p.Space.Guard.Data; data == 0 || p.Space.Memory.Read(p.Space.InPage(inferior.PagePath), b[:]) != nil || b[0] == 0 {
		return nil
	}
	dir := procfs.Path(p.PID, "fd")
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		var fd int
		path, err := os.Readlink(filepath.Join(dir, e.Name()))
		if _, err2 := fmt.Sscanf(e.Name(), "%d", &fd); err == nil && err2 == nil && strings.Contains(path, "ptracer") {
			fds = append(fds, fd)
		}
	}
	return fds
}
