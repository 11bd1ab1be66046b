package inproc

import (
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/interp"
)

// Variant is a handler as functions of one calling convention run it. Those of one
// handler have the same maps.
type Variant struct {
	In     *handler.Instance
	Codes  [2]*interp.Code // by build.Point; in the engine
	Kernel *handler.Loaded // or nil
}

func variantOf(in *handler.Instance) *Variant {
	v := &Variant{In: in}
	switch x := in.Maps.(type) {
	case *handler.Interpreted:
		v.Codes = [2]*interp.Code{x.Code(build.Entry), x.Code(build.Exit)}
	case *handler.Loaded:
		v.Kernel = x
	}
	return v
}
