package compile

import (
	"os"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/native"
)

// hasFeatures reports whether the CPU has all features that a target can have.
func hasFeatures() bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && strings.Contains(string(info), " atomics")
}

// threadPointer is that of the thread that runs r's code.
func threadPointer(r *runner) int {
	mrs := []byte{0x40, 0xd0, 0x3b, 0xd5} // mrs x0, tpidr_el0
	if err := r.m.Load(append(mrs, native.Jump(r.m.Base()+4, r.m.Exit())...)); err != nil {
		r.t.Error(err)
	}
	var regs arch.Regs
	regs[native.SP] = uint64(r.at) + native.FrameAt
	r.m.Run(r.m.Base(), &regs, nil)
	return int(regs[0])
}

// callLoop is code at base that calls what is behind it, at the offset that is
// returned, x23 times and then goes to where x24 says: registers that compiled
// code leaves alone.
func callLoop(arch.Addr) ([]byte, arch.Addr) {
	return []byte{
		0x04, 0, 0, 0x94, // bl behind
		0xf7, 0x06, 0, 0xd1, // sub x23, x23, #1
		0xd7, 0xff, 0xff, 0xb5, // cbnz x23
		0, 0x03, 0x1f, 0xd6, // br x24
	}, 16
}

func setLoop(r *arch.Regs, n, end uint64) { r[23], r[24] = n, end }
