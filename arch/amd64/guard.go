package amd64

import "github.com/ptracer/ptracer/arch"

func (isa) Guard() arch.GuardCode { return arch.GuardCode{} }
