package arm64

import (
	"encoding/binary"

	"github.com/ptracer/ptracer/arch"
)

// guardCode is testdata/guard.S assembled; guard_test.go checks that.
var guardCode = [...]uint32{
	// handler
	0xb9400823, 0x10000764, 0x7100047f, 0x540000e0, 0xf9401085, 0xb40002e5,
	0x7100087f, 0x54000200, 0x7100107f, 0x54000261,
	// lookup
	0xf940dc46, 0xf9400087,
	// chunk
	0xb40001c7, 0xf94004e8, 0x910040e9,
	// entry
	0xb4000128, 0xd1000508, 0xa8c12d2a, 0xeb06017f, 0x54000080, 0xeb06015f,
	0x54ffff41, 0xf900dc4b,
	// done
	0xd65f03c0,
	// next
	0xf94000e7, 0x17fffff3,
	// missing
	0x7100107f, 0x54ffff80,
	// foreign
	0xf9400490, 0xf100061f, 0x540000a3, 0x54000040, 0xd61f0200,
	// ignore
	0x7100007f, 0x54fffead,
	// default
	0x2a0303ec, 0xa9be7fff, 0xa9017fff, 0xd28000a0, 0x910003e1, 0xd2800002,
	0xd2800103, 0xd28010c8, 0xd4000001, 0x910083ff, 0x7100019f, 0x54fffd2c,
	0xd2801588, 0xd4000001, 0xaa0003e9, 0xd2801648, 0xd4000001, 0xaa0003e1,
	0xaa0903e0, 0xd28000a2, 0xd2801068, 0xd4000001, 0xd65f03c0,
	// restorer
	0xd2801168, 0xd4000001,
}

const guardRestorer = 0xe8

// Guard returns a handler for brk and hardware breakpoints. It can't handle two remains of a dead
// tracer. The first is a single step: the kernel steps into the handler too (handle_signal in
// arch/arm64/kernel/signal.c does not clear TIF_SINGLESTEP, which amd64 does), and the trap on its
// first instruction kills, since SIGTRAP is blocked there; 9 of 9 tracees died in this way on Linux
// 6.12. On arm64 a task that must outlive its tracer may not be single-stepped. The second is a
// watchpoint: it traps in front of the access, which would trap again. The handler returns, so the
// thread hangs there, alive, until the debug registers are cleared.
func (isa) Guard() arch.GuardCode {
	code := make([]byte, 0, 4*len(guardCode))
	for _, w := range guardCode {
		code = binary.LittleEndian.AppendUint32(code, w)
	}
	return arch.GuardCode{Code: code, Handler: 0, Restorer: guardRestorer, Header: len(code)}
}
