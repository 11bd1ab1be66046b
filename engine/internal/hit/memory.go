package hit

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// errJumpThere says why a write to code fails at a hit.
var errJumpThere = fmt.Errorf("%w: a jump of ptracer's lies there, which can't be taken away during a hit", breakpoint.ErrUnsupported)

// writeAtHit writes a process's memory while one of its tasks is at a hit. It keeps the probes.
func writeAtHit(t *inferior.Task, addr arch.Addr, data []byte) error {
	table := t.Process.Space.Table
	if len(table.JumpsOver(addr, len(data))) > 0 {
		return errJumpThere
	}
	return table.WriteOriginal(addr, data)
}
