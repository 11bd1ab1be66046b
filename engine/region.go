package engine

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/engine/internal/remote"
	"github.com/ptracer/ptracer/procfs"
)

// Memory of handlers that a traced program has, too: its threads write into it
// what the handlers find out. It is a file in memory that the program opens by
// our /proc entry and maps; the descriptor is closed again.
//
// A list of these mappings is kept in the guard's page, for whoever cleans up
// behind us.

// region is memory that is mapped in a space.
type region struct {
	set  *maps.Set
	addr arch.Addr
	size int
}

// gone forgets what was in a space.
func (s *session) gone(space *inferior.Space) {
	delete(s.regions, space)
	delete(s.unshared, space)
	delete(s.libraries, space)
}

// forked notes that a child's space has what its parent's has.
func (s *session) forked(parent, child *inferior.Space) {
	s.regions[child] = slices.Clone(s.regions[parent])
	s.libraries[child] = slices.Clone(s.libraries[parent])
}

// found notes a region that a tracer before has left in a space.
func (s *session) found(space *inferior.Space, r region) {
	s.regions[space] = append(s.regions[space], r)
}

// takeAll forgets what was in a space, and gives the memory there.
func (s *session) takeAll(space *inferior.Space) []region {
	list := s.regions[space]
	delete(s.regions, space)
	delete(s.libraries, space)
	return list
}

// isRegion reports whether an address is where a region of a space begins.
func (s *session) isRegion(space *inferior.Space, addr arch.Addr) bool {
	return slices.ContainsFunc(s.regions[space], func(r region) bool { return r.addr == addr })
}

// full reports whether a space has as many regions as there can be.
func (s *session) full(space *inferior.Space) bool { return len(s.regions[space]) == inferior.Regions }

var (
	errManyRegions = errors.New("too many handlers share memory with the process")
	errNamespace   = errors.New("the process has another PID namespace: it does not see ptracer's files")
	errOtherFile   = errors.New("the process has opened another file than ptracer's")
)

// share gives the place of a set in a process's memory, and maps it there first
// if it is not there.
func (s *session) share(p *inferior.Process, set *maps.Set, near arch.Addr) (arch.Addr, error) {
	space := p.Space
	for _, r := range s.regions[space] {
		if r.set == set && distance(r.addr, near) < s.remote.Reach() {
			return r.addr, nil
		}
	}
	if err := s.unshared[space]; err != nil {
		return 0, err // not tried again for each of thousands of sites
	}
	if !procfs.SamePIDNamespace(p.PID) {
		s.unshared[space] = errNamespace
		return 0, errNamespace
	}
	if s.full(space) {
		return 0, errManyRegions
	}
	r := region{set: set, size: len(set.Bytes())}
	err := s.remote.WithTask(s.loop.Sharing(space), func(t *inferior.Task) error { return s.mapFile(t, &r, near) })
	if err != nil {
		err = fmt.Errorf("share memory with the process: %w", err)
		s.unshared[space] = err
	}
	return r.addr, err
}

// addRegion notes a region here and there, before its process makes another system call
// for the tracer: until then it is known by the note of that which has mapped it.
func (s *session) addRegion(space *inferior.Space, r region) error {
	s.regions[space] = append(s.regions[space], r)
	return s.noteRegions(space)
}

func distance(a, b arch.Addr) arch.Addr { return max(a, b) - min(a, b) }

// mapFile has a halted task open a region's file and map it.
func (s *session) mapFile(t *inferior.Task, r *region, near arch.Addr) error {
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
	fd, err := s.remote.Call(t, ptrace.SysOpenat, uint64(cwd&(1<<64-1)), uint64(at), ptrace.OpenRW, 0)
	if err != nil {
		return err
	}
	theirs, err := os.Stat(procfs.Path(t.TID, fmt.Sprintf("fd/%d", fd)))
	if ours, err2 := file.Stat(); err == nil && (err2 != nil || !os.SameFile(ours, theirs)) {
		err = errOtherFile
	}
	if err == nil {
		if r.addr, err = s.remote.MapNear(t, near, r.size, remote.Mapping{Prot: ptrace.ProtRW, Flags: ptrace.MapShared, FD: fd}); err == nil {
			err = s.addRegion(space, *r)
		}
	}
	_, err2 := s.remote.Call(t, ptrace.SysClose, fd)
	if err2 == nil { // a path there says that the file may be open
		err2 = space.Memory.Write(at, []byte{0})
	}
	return errors.Join(err, err2)
}

// pathFor is where a task can open one of our files, until done: our own /proc
// entry, or, for a task that may not look there, that of a process that holds it.
func pathFor(tid int, file *os.File) (path string, done func(), err error) {
	st, err := procfs.ReadStatus(tid)
	if err != nil {
		return "", nil, err
	}
	uid, gid := st.FileID("Uid"), st.FileID("Gid")
	if uid == os.Geteuid() && gid == os.Getegid() && !ptrace.Hidden() {
		return procfs.Path(os.Getpid(), fmt.Sprintf("fd/%d", file.Fd())), func() {}, nil
	}
	if info, err := file.Stat(); err == nil && info.Mode().Perm()&0o006 == 0 { // in a folder that only we may enter
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

// noteRegions writes the list of a space's regions into the guard's page.
func (s *session) noteRegions(space *inferior.Space) error {
	list := s.regions[space]
	b := make([]byte, 8+16*len(list))
	putLe64(b, uint64(len(list)))
	for i, r := range list {
		putLe64(b[8+16*i:], uint64(r.addr))
		putLe64(b[16+16*i:], uint64(r.size))
	}
	return space.Memory.Write(space.InPage(inferior.PageRegions), b)
}

// recoverRegions reads the list that a tracer before has left. It may have given
// some of them back already: the program may have something else there.
func (s *session) recoverRegions(p *inferior.Process, maps []procfs.Mapping) {
	space := p.Space
	var b [8 + 16*inferior.Regions]byte
	if space.Guard.Data == 0 || space.Memory.Read(space.InPage(inferior.PageRegions), b[:]) != nil {
		return
	}
	for i := range min(le64(b[:]), inferior.Regions) {
		r := region{addr: arch.Addr(le64(b[8+16*i:])), size: int(le64(b[16+16*i:]))}
		if m := mappingOf(maps, r); m != nil && (isShared(m) || m.Path == "" && (isWiped(p.PID, r) || untouched(space.Memory, r))) {
			s.found(space, r)
		}
	}
}
