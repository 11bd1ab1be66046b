package engine

import (
	"debug/elf"
	"runtime"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
	"github.com/ptracer/ptracer/failure"
)

// ISAFor returns the instruction set of an ELF machine. It is the one place in the module that
// picks one.
func ISAFor(m elf.Machine) (arch.ISA, error) {
	for _, isa := range []arch.ISA{amd64.ISA, arm64.ISA} {
		if isa.Machine() == m {
			return isa, nil
		}
	}
	return nil, failure.Unsupportedf("programs for %v", m)
}

// hostISA returns the instruction set that this program runs on.
func hostISA() arch.ISA {
	machine := elf.EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = elf.EM_AARCH64
	}
	isa, err := ISAFor(machine)
	if err != nil {
		panic(err)
	}
	return isa
}
