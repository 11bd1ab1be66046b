package probe

import (
	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
)

// IFunc is a resolver, in all processes that have its file there.
type IFunc struct {
	At     arch.Addr // in the process
	Fn     symbols.Function
	File   *symbols.File
	Probes []*Probe // that want what it gives back
}
