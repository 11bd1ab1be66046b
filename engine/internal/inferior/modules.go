package inferior

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
)

// ModuleAt is the object, or the copy of one, that has an address mapped; nil for none.
func (p *Process) ModuleAt(addr arch.Addr) *symbols.Module {
	for _, m := range p.Modules {
		if m.Mapped(addr) {
			return m
		}
		for _, c := range m.Copies {
			if c.Mapped(addr) {
				return c
			}
		}
	}
	return nil
}

// IsGo reports whether there is Go code in the process.
func (p *Process) IsGo() bool {
	for _, m := range p.Modules {
		if m.File.IsGo() {
			return true
		}
	}
	return false
}

// HasLoader reports whether the process has a dynamic loader.
func (p *Process) HasLoader() bool {
	for _, m := range p.Modules {
		if m.Loader {
			return true
		}
	}
	return false
}

// Objects are those of the process, the main program first.
func (p *Process) Objects() (list []*symbols.Module) {
	for _, m := range p.Modules {
		if m.Main {
			list = append([]*symbols.Module{m}, list...)
		} else {
			list = append(list, m)
		}
	}
	return list
}

// Bytes are those of an object's file at an address of the file, as many as an instruction may
// have, or as there are; nil for none.
func Bytes(isa arch.ISA, m *symbols.Module, vaddr arch.Addr) []byte {
	for n := isa.MaxInst(); n > 0; n-- {
		buf := make([]byte, n)
		if m.File.Text(vaddr, buf) == nil {
			return buf
		}
	}
	return nil
}

// AllGo reports whether all traced programs are Go programs. The calls of such programs are told
// apart by goroutine, not by thread.
func AllGo(procs map[int]*Process) bool {
	n := 0
	for _, p := range procs {
		for _, m := range p.Modules {
			if m.Main {
				n++
				if !m.File.IsGo() {
					return false
				}
			}
		}
	}
	return n > 0
}
