package hit

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/failure"
)

// errJumpThere is of a write to code at a hit.
var errJumpThere = failure.Unsupportedf("a jump of ptracer's lies there, which can't be taken away during a hit")

// writeAtHit writes a process's memory while one of its tasks is at a hit. It keeps the probes.
func writeAtHit(t *inferior.Task, addr arch.Addr, data []byte) error {
	table := t.Process.Space.Table
	if len(table.JumpsOver(addr, len(data))) > 0 {
		return errJumpThere
	}
	return table.WriteOriginal(addr, data)
}
