package inproc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/internal/guard"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/procfs"
)

// TakeLibraries forgets the libraries of a handler in a space. It returns their memory, for
// UnmapIn.
func (x *InProcess) TakeLibraries(space *inferior.Space, h *Handler) (list []Region) {
	x.libraries[space] = slices.DeleteFunc(x.libraries[space], func(l *Library) bool {
		if !slices.Contains(h.Variants, l.of) {
			return false
		}
		for _, at := range l.At {
			if addr, size, ok := space.Table.RemoveLibrary(at); ok {
				list = append(list, Region{Addr: addr, Size: size})
			}
			break
		}
		return true
	})
	return list
}

// TakeRegions forgets the regions of a set in a space. It returns them, for UnmapIn.
func (x *InProcess) TakeRegions(space *inferior.Space, set *maps.Set) (list []Region) {
	x.regions[space] = slices.DeleteFunc(x.regions[space], func(r Region) bool {
		if r.set == set {
			list = append(list, r)
		}
		return r.set == set
	})
	return list
}

// UnmapIn unmaps memory of ptracer's in a space. It is no error if the process has ended.
func (x *InProcess) UnmapIn(space *inferior.Space, r Region) error {
	err := x.remote.WithTask(x.loop.Sharing(space), func(t *inferior.Task) error {
		_, err := x.remote.Call(t, ptrace.SysMunmap, uint64(r.Addr), uint64(r.Size))
		return err
	})
	if ptrace.IsGone(err) {
		return nil
	}
	return err
}

// Regions. A handler's maps lie in memory that tracer and program share: a file in memory, which a
// task opens by an entry of the tracer in /proc, maps, and closes again. A list of the regions is
// kept in the guard's page, for a tracer that cleans up after this one.

// Region is memory that is mapped in a space. Its size is in bytes.
type Region struct {
	set  *maps.Set
	Addr arch.Addr
	Size int
}

// Left implements inferior.Room.
func (x *InProcess) Left(p *inferior.Process, last bool) {
	if last {
		delete(x.regions, p.Space)
		delete(x.unshared, p.Space)
		delete(x.libraries, p.Space)
	}
}

// Forked implements inferior.Room.
func (x *InProcess) Forked(parent, child *inferior.Process) {
	x.regions[child.Space] = slices.Clone(x.regions[parent.Space])
	x.libraries[child.Space] = slices.Clone(x.libraries[parent.Space])
}

// Found notes a region that an earlier tracer has left in a space.
func (x *InProcess) Found(space *inferior.Space, r Region) {
	x.regions[space] = append(x.regions[space], r)
}

// TakeAll forgets what a space has. It returns the regions, which the caller unmaps.
func (x *InProcess) TakeAll(space *inferior.Space) []Region {
	list := x.regions[space]
	delete(x.regions, space)
	delete(x.libraries, space)
	return list
}

// IsRegion reports whether a region of a space begins at an address.
func (x *InProcess) IsRegion(space *inferior.Space, addr arch.Addr) bool {
	return slices.ContainsFunc(x.regions[space], func(r Region) bool { return r.Addr == addr })
}

// Full reports whether a space has as many regions as the list in the guard's page can hold.
func (x *InProcess) Full(space *inferior.Space) bool {
	return len(x.regions[space]) == inferior.Regions
}

// ErrManyRegions says that a space has no room for one more region (Full).
var (
	ErrManyRegions = errors.New("too many handlers share memory with the process")
	errNamespace   = errors.New("the process has another PID namespace: it does not see ptracer's files")
	errOtherFile   = errors.New("the process has opened another file than ptracer's")
)

// Share returns where a set lies in a process's memory, within reach of the address near, and maps
// it there first if it is not there.
func (x *InProcess) Share(p *inferior.Process, set *maps.Set, near arch.Addr) (arch.Addr, error) {
	space := p.Space
	for _, r := range x.regions[space] {
		if r.set == set && distance(r.Addr, near) < x.remote.Reach() {
			return r.Addr, nil
		}
	}
	if err := x.unshared[space]; err != nil {
		return 0, err // it is not tried again for each of thousands of sites
	}
	if !procfs.SamePIDNamespace(p.PID) {
		x.unshared[space] = errNamespace
		return 0, errNamespace
	}
	if x.Full(space) {
		return 0, ErrManyRegions
	}
	r := Region{set: set, Size: len(set.Bytes())}
	err := x.remote.WithTask(x.loop.Sharing(space), func(t *inferior.Task) error { return x.mapFile(t, &r, near) })
	if err != nil {
		err = fmt.Errorf("share memory with the process: %w", err)
		x.unshared[space] = err
	}
	return r.Addr, err
}

// AddRegion notes a region here and in the guard's page. This must be done before a task makes
// another system call for the tracer: until then the note of the call that has mapped it tells of
// it.
func (x *InProcess) AddRegion(space *inferior.Space, r Region) error {
	x.regions[space] = append(x.regions[space], r)
	return x.NoteRegions(space)
}

// distance returns how far apart two addresses are, in bytes.
func distance(a, b arch.Addr) arch.Addr { return max(a, b) - min(a, b) }

// mapFile makes a halted task open a region's file and map it.
func (x *InProcess) mapFile(t *inferior.Task, r *Region, near arch.Addr) error {
	space, file := t.Process.Space, r.set.File()
	path, done, err := pathFor(t.TID, file)
	if err != nil {
		return err
	}
	defer done()
	at := space.InPage(inferior.PagePath)
	if err := space.Memory.Write(at, append([]byte(path), 0)); err != nil {
		return err
	}
	const cwd = -100 // AT_FDCWD
	fd, err := x.remote.Call(t, ptrace.SysOpenat, uint64(cwd&(1<<64-1)), uint64(at), ptrace.OpenRW, 0)
	if err != nil {
		return err
	}
	theirs, err := os.Stat(procfs.Path(t.TID, fmt.Sprintf("fd/%d", fd)))
	if ours, err2 := file.Stat(); err == nil && (err2 != nil || !os.SameFile(ours, theirs)) {
		err = errOtherFile
	}
	if err == nil {
		if r.Addr, err = x.remote.MapNear(t, near, r.Size, remote.Mapping{Prot: ptrace.ProtRW, Flags: ptrace.MapShared, FD: fd}); err == nil {
			err = x.AddRegion(space, *r)
		}
	}
	_, err2 := x.remote.Call(t, ptrace.SysClose, fd)
	if err2 == nil { // as long as the path is there, the file may be open
		err2 = space.Memory.Write(at, []byte{0})
	}
	return errors.Join(err, err2)
}

// pathFor returns a path by which a task can open a file of the tracer's, until done is called: the
// tracer's own entry in /proc, or, for a task that may not look there, the entry of a process that
// holds the file for it.
func pathFor(tid int, file *os.File) (path string, done func(), err error) {
	st, err := procfs.ReadStatus(tid)
	if err != nil {
		return "", nil, err
	}
	uid, gid := st.FileID("Uid"), st.FileID("Gid")
	if uid == os.Geteuid() && gid == os.Getegid() && !ptrace.Hidden() {
		return procfs.Path(os.Getpid(), fmt.Sprintf("fd/%d", file.Fd())), func() {}, nil
	}
	if info, err := file.Stat(); err == nil && info.Mode().Perm()&0o006 == 0 { // it lies in a folder that only this user may enter
		if err := file.Chown(uid, gid); err != nil {
			return "", nil, err
		}
	}
	pid, err := ptrace.Hold(file.Fd(), uint32(uid), uint32(gid))
	if err != nil {
		return "", nil, fmt.Errorf("as user %d: %w", uid, err)
	}
	return procfs.Path(pid, "fd/0"), func() { ptrace.Reap(pid) }, nil
}

// NoteRegions writes the list of a space's regions into the guard's page.
func (x *InProcess) NoteRegions(space *inferior.Space) error {
	list := x.regions[space]
	b := make([]byte, 8+16*len(list))
	binary.LittleEndian.PutUint64(b, uint64(len(list)))
	for i, r := range list {
		binary.LittleEndian.PutUint64(b[8+16*i:], uint64(r.Addr))
		binary.LittleEndian.PutUint64(b[16+16*i:], uint64(r.Size))
	}
	return space.Memory.Write(space.InPage(inferior.PageRegions), b)
}

// RecoverRegions reads the list that an earlier tracer has left in the guard's page. That tracer
// may have unmapped some of the regions, and the program may have something else there: only what
// has a region's mark is taken.
func (x *InProcess) RecoverRegions(p *inferior.Process, maps []procfs.Mapping) {
	space := p.Space
	var b [8 + 16*inferior.Regions]byte
	if space.Guard.Data == 0 || space.Memory.Read(space.InPage(inferior.PageRegions), b[:]) != nil {
		return
	}
	for i := range min(binary.LittleEndian.Uint64(b[:]), inferior.Regions) {
		r := Region{Addr: arch.Addr(binary.LittleEndian.Uint64(b[8+16*i:])), Size: int(binary.LittleEndian.Uint64(b[16+16*i:]))}
		if m := MappingOf(maps, r); m != nil && (IsShared(m) || m.Path == "" && (isWiped(p.PID, r) || Untouched(space.Memory, r))) {
			x.Found(space, r)
		}
	}
}

// MappingOf returns the mapping of which a region is a part, or nil.
func MappingOf(maps []procfs.Mapping, r Region) *procfs.Mapping {
	for i, m := range maps {
		if r.Addr >= m.Start && r.Addr+arch.Addr(r.Size) <= m.End {
			return &maps[i]
		}
	}
	return nil
}

// IsShared reports whether a mapping is of a file of ptracer's.
func IsShared(m *procfs.Mapping) bool {
	return strings.HasSuffix(m.Perm, "s") && strings.Contains(m.Path, "ptracer")
}

// Untouched reports whether a mapping holds nothing but zeros, or is a page of ptracer's by its
// mark: a guard's page, or one with the copy of syscall()'s code.
func Untouched(mem *ptrace.Memory, r Region) bool {
	if guard.IsPage(mem, r.Addr) || guard.IsAsidePage(mem, r.Addr) {
		return r.Size == inferior.PageSize
	}
	buf := make([]byte, 1<<16)
	for at := 0; at < r.Size; at += len(buf) {
		b := buf[:min(len(buf), r.Size-at)]
		if mem.Read(r.Addr+arch.Addr(at), b) != nil || len(bytes.Trim(b, "\x00")) > 0 {
			return false
		}
	}
	return true
}

// isWiped reports whether a mapping is one that a forked child gets empty, as the handlers' stacks
// are.
func isWiped(pid int, r Region) bool {
	f, err := os.Open(procfs.Path(pid, "smaps"))
	if err != nil {
		return false
	}
	defer f.Close()
	begin := fmt.Sprintf("%08x-%08x ", uint64(r.Addr), uint64(r.Addr)+uint64(r.Size))
	found := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		flags, last := strings.CutPrefix(lines.Text(), "VmFlags:")
		if found = found || strings.HasPrefix(lines.Text(), begin); found && last {
			return slices.Contains(strings.Fields(flags), "wf")
		}
	}
	return false
}
