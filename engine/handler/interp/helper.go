package interp

import (
	"math/rand/v2"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Errors as the kernel's helpers return them: negative numbers.
const (
	e2Big  = -7
	eAgain = -11
	eFault = -14
	eInval = -22
	eNoSpc = -28
)

func errno(e int64) uint64 { return uint64(e) }

// helpers implement the helpers: arguments are in R1 to R5, and the result becomes R0. ok false
// means a fault of the verifier.
var helpers = map[int32]func(m *Machine) (r0 uint64, ok bool){
	program.FnKtimeGetNS:       func(m *Machine) (uint64, bool) { return m.env.Time(), true },
	program.FnKtimeGetBootNS:   func(m *Machine) (uint64, bool) { return m.env.BootTime(), true },
	program.FnPrandomU32:       func(m *Machine) (uint64, bool) { return uint64(rand.Uint32()), true },
	program.FnSMPProcessorID:   func(m *Machine) (uint64, bool) { return uint64(m.env.CPU()), true },
	program.FnCurrentPIDTGID:   func(m *Machine) (uint64, bool) { return m.env.PIDTGID(), true },
	program.FnCurrentUIDGID:    func(m *Machine) (uint64, bool) { return m.env.UIDGID(), true },
	program.FnGetFuncIP:        func(m *Machine) (uint64, bool) { return m.env.FuncIP(), true },
	program.FnGetAttachCookie:  func(m *Machine) (uint64, bool) { return m.env.Cookie(), true },
	program.FnCurrentComm:      (*Machine).comm,
	program.FnProbeReadUser:    (*Machine).readUser,
	program.FnProbeReadUserStr: (*Machine).readUserStr,
	program.FnProbeWriteUser:   (*Machine).writeUser,
	program.FnStrncmp:          (*Machine).strncmp,
	program.FnTracePrintk:      (*Machine).printk,
	program.FnGetStack:         (*Machine).getStack,
	program.FnGetStackID:       (*Machine).getStackID,
	program.FnMapLookup:        (*Machine).mapLookup,
	program.FnMapUpdate:        (*Machine).mapUpdate,
	program.FnMapDelete:        (*Machine).mapDelete,
	program.FnRingbufOutput:    (*Machine).ringOutput,
	program.FnPerfEventOutput:  (*Machine).perfOutput,
	program.FnRingbufReserve:   (*Machine).ringReserve,
	program.FnRingbufSubmit:    (*Machine).ringSubmit,
	program.FnRingbufDiscard:   (*Machine).ringDiscard,
	program.FnRingbufQuery:     (*Machine).ringQuery,
}

// byNumber is helpers as an array, which is faster than a map.
var byNumber [256]func(*Machine) (uint64, bool)

func init() {
	for n, f := range helpers {
		byNumber[n] = f
	}
	byNumber[program.FnLoop] = (*Machine).loop
}

func (m *Machine) help(in program.Insn, pc int) (int, error) {
	if in.Src != program.CallHelper || uint32(in.Imm) >= uint32(len(byNumber)) || byNumber[in.Imm] == nil {
		return 0, m.fault(pc, "there is no helper %d", in.Imm)
	}
	r0, ok := byNumber[in.Imm](m)
	if m.failed != nil {
		return 0, m.failed
	}
	if !ok {
		return 0, m.fault(pc, "%s: arguments that make no sense", program.Helpers[in.Imm].Name)
	}
	m.r[program.R0] = r0
	return pc + 1, nil
}

// mem returns the n bytes that register r points to, nil for 0 bytes.
func (m *Machine) mem(r int, n uint64) ([]byte, bool) {
	if n == 0 {
		return nil, true
	}
	if n > partMask {
		return nil, false
	}
	return m.at(m.r[r], int(n))
}

func (m *Machine) comm() (uint64, bool) {
	b, ok := m.mem(program.R1, m.r[program.R2])
	if !ok || len(b) == 0 {
		return 0, ok
	}
	name := m.env.Comm()
	clear(b)
	copy(b[:len(b)-1], name[:])
	return 0, true
}

func (m *Machine) readUser() (uint64, bool) {
	b, ok := m.mem(program.R1, uint64(uint32(m.r[program.R2])))
	if !ok {
		return 0, false
	}
	if len(b) > 0 && m.env.ReadMemory(arch.Addr(m.r[program.R3]), b) != nil {
		clear(b)
		return errno(eFault), true
	}
	return 0, true
}

// readUserStr copies up to the first 0 and counts that, or as much as fits with a 0 at the end
// (strncpy_from_user_nofault).
func (m *Machine) readUserStr() (uint64, bool) {
	b, ok := m.mem(program.R1, uint64(uint32(m.r[program.R2])))
	if !ok || len(b) == 0 {
		return 0, ok
	}
	addr := m.r[program.R3]
	for done := 0; done < len(b); {
		n := min(len(b)-done, 64, int(4096-addr%4096)) // not beyond the page
		if m.env.ReadMemory(arch.Addr(addr), b[done:done+n]) != nil {
			clear(b)
			return errno(eFault), true
		}
		for i := done; i < done+n; i++ {
			if b[i] == 0 {
				clear(b[i:])
				return uint64(i + 1), true
			}
		}
		done, addr = done+n, addr+uint64(n)
	}
	b[len(b)-1] = 0
	return uint64(len(b)), true
}

func (m *Machine) writeUser() (uint64, bool) {
	b, ok := m.mem(program.R2, uint64(uint32(m.r[program.R3])))
	if !ok {
		return 0, false
	}
	if m.env.WriteMemory(arch.Addr(m.r[program.R1]), b) != nil {
		return errno(eFault), true
	}
	return 0, true
}

// strncmp compares up to n bytes of R1 with the string in R3.
func (m *Machine) strncmp() (uint64, bool) {
	a, ok := m.mem(program.R1, uint64(uint32(m.r[program.R2])))
	if !ok {
		return 0, false
	}
	for i, x := range a {
		b, ok := m.at(m.r[program.R3]+uint64(i), 1)
		if !ok {
			return 0, false
		}
		if x != b[0] {
			if x < b[0] {
				return errno(-1), true
			}
			return 1, true
		}
		if x == 0 {
			break
		}
	}
	return 0, true
}

// maxLoops bounds bpf_loop, as in the kernel (BPF_MAX_LOOPS).
const maxLoops = 1 << 23

// loop calls a function of the program with 0, 1, 2 and so on until the function returns a value
// other than 0.
func (m *Machine) loop() (uint64, bool) {
	n, fn, ctx, flags := uint64(uint32(m.r[program.R1])), m.r[program.R2], m.r[program.R3], m.r[program.R4]
	if flags != 0 {
		return errno(eInval), true
	}
	if n > maxLoops {
		return errno(e2Big), true
	}
	if fn>>partShift != funcBase>>partShift {
		return 0, false
	}
	var saved [4]uint64
	copy(saved[:], m.r[program.R6:program.R10])
	for i := range n {
		m.r[program.R1], m.r[program.R2] = i, ctx
		if m.failed = m.enter(int(fn & partMask)); m.failed != nil {
			return 0, false
		}
		copy(m.r[program.R6:program.R10], saved[:])
		if m.r[program.R0] != 0 {
			return i + 1, true
		}
	}
	return n, true
}
