package hit

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/probe"
)

// arg returns argument i of the function that a task has entered, by the placement's convention.
func (x *Hits) arg(t *inferior.Task, p *probe.Placement, view *arch.Regs, i int) (uint64, bool) {
	if p.Calls != arch.GoStack || i < 0 {
		return x.isa.Arg(p.Calls, view, i)
	}
	var b [8]byte
	at := arch.Addr(view[x.isa.SPReg()] + uint64(arch.StackArg(i)))
	if t.Process.Space.Memory.Read(at, b[:]) != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}

// textAt returns the string at addr, which is argument i of the function or its result. In Go
// functions its length is the next argument.
func (x *Hits) textAt(t *inferior.Task, p *probe.Placement, view *arch.Regs, i int, addr arch.Addr) string {
	if p.Calls == arch.C {
		return x.readString(t, addr)
	}
	n, ok := x.arg(t, p, view, i+1) // results are in the registers of arguments
	if !ok {
		return ""
	}
	buf := make([]byte, min(n, maxString))
	have, _ := t.Process.Space.Memory.ReadSome(addr, buf)
	return string(buf[:have])
}
