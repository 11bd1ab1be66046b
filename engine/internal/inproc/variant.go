package inproc

import (
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/interp"
)

// Variant is a handler as it is compiled for places where its arguments, and the names in its
// expressions, mean the same. All variants of a handler have the same maps.
type Variant struct {
	In     *handler.Instance
	Codes  [2]*interp.Code // the programs in the engine, by build.Point
	Kernel *handler.Loaded // the programs in the kernel, or nil
}

// variantOf returns the variant of an instance.
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
