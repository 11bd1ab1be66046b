package guard

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
)

// Stale reports whether a child's copy of its parent's space may differ from what is known of
// that.
func (g *Guard) Stale(parent *inferior.Space, child *ptrace.Memory) bool {
	if parent.Guard.Data == 0 {
		return parent.Table.Prepared()
	}
	var b [8]byte
	return parent.Memory.Written || child.Read(parent.InPage(inferior.PageEpoch), b[:]) != nil || binary.LittleEndian.Uint64(b[:]) != parent.Epoch
}

// Settle gives the spaces that something was written into their next number. It is
// the last thing to be written before stops are waited for.
func (g *Guard) Settle() {
	if !g.Written {
		return
	}
	for _, p := range g.loop.Procs {
		if space := p.Space; space.Memory.Written && space.Guard.Data != 0 {
			space.Epoch++
			_ = space.PutWord(inferior.PageEpoch, space.Epoch)
		}
		p.Space.Memory.Written = false
	}
	g.Written = false
}
