package inferior

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// Seen is what a process has mapped, as it was found when it was looked for.
type Seen struct {
	Modules map[string]*symbols.Module // by address and path
	Fresh   []*symbols.Module          // of these, those that were not there before
	Unread  []*objfile.UnreadError     // what could not be read; before it was not there, or was read
	Over    []*objfile.UnreadError     // what could not be read before, and is read now, or has gone
}

// Look reads what a process has mapped. What is known of it stays where it can't be opened any more: its
// sites are there. Only what can't be read is noted in p.
func (p *Process) Look(cache *symbols.Cache) (now Seen, err error) {
	maps, err := procfs.Maps(p.PID)
	if err != nil {
		return now, Unopened(p.PID, "maps", err)
	}
	mods, unread := cache.Modules(p.PID, maps)
	now.Modules = map[string]*symbols.Module{}
	read := map[string]bool{}
	for i := range mods {
		m := &mods[i]
		key := fmt.Sprintf("%x-%s", m.Start, m.Path)
		if old := p.Modules[key]; old != nil {
			m = old
		} else {
			now.Fresh = append(now.Fresh, m)
		}
		now.Modules[key], read[m.Path] = m, true
	}
	for key, m := range p.Modules {
		if now.Modules[key] == nil && m.MappedIn(maps) {
			now.Modules[key], read[m.Path] = m, true
		}
	}
	old := p.Unread
	p.Unread = slices.DeleteFunc(unread, func(u *objfile.UnreadError) bool { return read[u.Path] || IsEnded(u) })
	for i, u := range p.Unread {
		if same := ofPath(old, u.Path); same != nil {
			p.Unread[i] = same // which probes have been told
		} else {
			now.Unread = append(now.Unread, u)
		}
	}
	for _, u := range old {
		if ofPath(p.Unread, u.Path) == nil {
			now.Over = append(now.Over, u)
		}
	}
	return now, nil
}

func ofPath(list []*objfile.UnreadError, path string) *objfile.UnreadError {
	for _, u := range list {
		if u.Path == path {
			return u
		}
	}
	return nil
}

// Unopened is an error of opening a file of a process in /proc, with what helps.
func Unopened(pid int, name string, why error) error {
	return &objfile.UnreadError{Path: procfs.Path(pid, name), Err: why}
}

// IsEnded is whether what was asked of /proc failed because the process, or the mapping, has gone.
func IsEnded(err error) bool { return ptrace.IsGone(err) || errors.Is(err, fs.ErrNotExist) }
