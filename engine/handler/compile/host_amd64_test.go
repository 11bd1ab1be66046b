package compile

import (
	"os"
	"strings"

	"github.com/ptracer/ptracer/arch"
)

// hasFeatures reports whether the CPU has all features that a target can have.
func hasFeatures() bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && strings.Contains(string(info), " rdpid")
}

// threadPointer is not needed: an instruction gives the number of the CPU.
func threadPointer(*runner) int { return 0 }

// callLoop is code at base that calls what is behind it, at the offset that is
// returned, rbp times and then goes to where r12 says: registers that compiled
// code leaves alone.
func callLoop(arch.Addr) ([]byte, arch.Addr) {
	return []byte{
		0xe8, 0x08, 0, 0, 0, // call behind
		0x48, 0xff, 0xcd, // dec rbp
		0x75, 0xf6, // jne
		0x41, 0xff, 0xe4, // jmp r12
	}, 13
}

func setLoop(r *arch.Regs, n, end uint64) { r[4], r[3] = n, end }
