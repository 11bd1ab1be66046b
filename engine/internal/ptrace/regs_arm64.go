package ptrace

import (
	"unsafe"

	"github.com/ptracer/ptracer/arch"
)

const (
	setGeneral = 1      // NT_PRSTATUS
	regsSize   = 34 * 8 // struct user_pt_regs
	pcWord     = 32
)

// GetRegs reads a stopped task's general registers.
func GetRegs(task int, r *arch.Regs) error {
	n := regsSize
	return failed("PTRACE_GETREGSET", task, getRegSet(task, setGeneral, unsafe.Pointer(r), &n))
}

// SetRegs replaces a stopped task's general registers.
func SetRegs(task int, r *arch.Regs) error {
	return failed("PTRACE_SETREGSET", task, setRegSet(task, setGeneral, unsafe.Pointer(r), regsSize))
}

// GetPC reads a stopped task's program counter; arm64 has no request for one register.
func GetPC(task int) (arch.Addr, error) {
	var r arch.Regs
	err := GetRegs(task, &r)
	return arch.Addr(r[pcWord]), err
}

// SetPC replaces a stopped task's program counter and keeps the rest.
func SetPC(task int, pc arch.Addr) error {
	var r arch.Regs
	if err := GetRegs(task, &r); err != nil {
		return err
	}
	r[pcWord] = uint64(pc)
	return SetRegs(task, &r)
}
