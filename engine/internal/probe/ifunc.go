package probe

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
)

// IFunc is the resolver of an IFUNC symbol. It is the same for all processes that have the file at
// the same address.
type IFunc struct {
	At     arch.Addr // where the resolver lies in the process
	Fn     symbols.Function
	File   *symbols.File
	Probes []*Probe // that are to be planted in the function that it returns
}
