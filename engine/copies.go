package engine

import (
	"slices"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/procfs"
)

// A program can map some of its code once more, and run the copy (symbols.Module.Copies). What is
// there when a process is attached to has its probes. Of what comes later nothing is told, as of
// any mmap; it is looked for where results are read, and at the process's end.

const gapCopy = "the program has mapped this code once more since the probe was planted: calls of that copy are not counted"

// noteCopies notes at the placements of a process of which there are copies without probes.
func (s *session) noteCopies(p *inferior.Process) {
	if len(s.probes) == 0 {
		return
	}
	maps, err := procfs.Maps(p.PID)
	if err != nil {
		return
	}
	for _, r := range maps {
		if r.Executable() && r.Inode != 0 && p.ModuleAt(r.Start) == nil {
			s.noteCopy(p, r)
		}
	}
}

// noteCopy notes it at those whose code a mapping shows.
func (s *session) noteCopy(p *inferior.Process, of procfs.Mapping) {
	for _, m := range p.Modules {
		for _, r := range m.Ranges {
			if r.Dev != of.Dev || r.Inode != of.Inode {
				continue
			}
			shown := slices.DeleteFunc(slices.Clone(p.Space.Table.Sites()), func(site *breakpoint.Site) bool {
				offset := uint64(site.Addr-r.Start) + r.Offset
				return !r.Contains(site.Addr) || offset < of.Offset || offset-of.Offset >= uint64(of.End-of.Start)
			})
			noteGap(shown, gapCopy)
		}
	}
}
