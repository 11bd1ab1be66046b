package native

import (
	"bytes"
	"fmt"
	"slices"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/compile/plan"
)

// Where a Handler has its frame in the Machine's data, and how much below it
// is looked at behind each hit.
const (
	FrameAt   = 2 << 20
	stackSize = 2 << 10
)

var zeros [stackSize]byte

// Handler is a compiled program in a Machine. It is run the way a probe will:
// its frame has what the code asks for and nothing else, and the thread gets
// back what the code says it changes.
type Handler struct {
	m      *Machine
	code   *plan.Code
	called bool
}

// Hit is a thread that comes to the probe.
type Hit struct {
	Regs           arch.Regs // of the thread; changed by what the program writes
	Cookie, FuncIP uint64
	// Help answers helpers; those of number n are at Machine.Helper(n).
	Help func(num int32, args [5]uint64) uint64
}

// Handler loads code, compiled for Base and Called or not.
func (m *Machine) Handler(code *plan.Code, called bool) (*Handler, error) {
	text := code.Bytes[:len(code.Bytes):len(code.Bytes)]
	if !called {
		text = append(text, Jump(m.Base()+arch.Addr(len(text)), m.exit)...)
	}
	return &Handler{m, code, called}, m.Load(text)
}

// Run runs the program and gives R0. An error says what the code did that it
// did not tell: a register or flag changed, or the stack out of bounds.
func (h *Handler) Run(hit *Hit) (uint64, error) {
	data, _ := h.m.Data()
	clear(data[FrameAt-stackSize : FrameAt])
	in := h.Enter(hit)
	out := in
	var broken error
	h.m.Run(h.m.Base(), &out, func(n int, now *arch.Regs) {
		var args [5]uint64
		for i := range args {
			args[i] = now[homes[1+i]]
		}
		if now[SP]%16 != callAlign {
			broken = fmt.Errorf("native: helper %d: stack pointer %#x", n, now[SP])
		}
		result := hit.Help(int32(n), args)
		for _, w := range volatile {
			now[w] = 0xbad0bad0bad0bad0
		}
		now[homes[0]] = result
	})
	if broken == nil {
		broken = h.check(&in, &out)
	}
	h.leave(hit, &out)
	return out[homes[0]], broken
}

func (h *Handler) frame() *[plan.FrameWords]uint64 {
	data, _ := h.m.Data()
	return (*[plan.FrameWords]uint64)(unsafe.Pointer(&data[FrameAt]))
}

// Enter fills in the frame and gives the registers that the code starts with.
func (h *Handler) Enter(hit *Hit) arch.Regs {
	_, at := h.m.Data()
	frame := h.frame()
	for i := range frame {
		v := uint64(0xdead000000000000 + uint64(i)<<8) // not filled in
		switch {
		case !(h.code.Reads | h.code.Clobbers).Has(i):
		case i < len(hit.Regs):
			v = hit.Regs[i]
		case i == plan.FrameCookie:
			v = hit.Cookie
		case i == plan.FrameFuncIP:
			v = hit.FuncIP
		}
		frame[i] = v
	}
	in := hit.Regs
	in[SP] = uint64(at) + FrameAt - uint64(h.code.Locals)
	if h.called {
		call(&in, h.m.exit)
	}
	return in
}

// leave gives the thread its registers back.
func (h *Handler) leave(hit *Hit, out *arch.Regs) {
	frame := h.frame()
	for w := range hit.Regs {
		switch {
		case (h.code.Clobbers | h.code.Writes).Has(w):
			hit.Regs[w] = frame[w]
		case kept(w):
			hit.Regs[w] = out[w]
		}
	}
}

func (h *Handler) check(in, out *arch.Regs) error {
	code := h.code
	for w := range in {
		if kept(w) && in[w] != out[w] && !code.Clobbers.Has(w) {
			return fmt.Errorf("native: register word %d changed from %#x to %#x, Clobbers is %#x", w, in[w], out[w], code.Clobbers)
		}
	}
	if d := (in[flags] ^ out[flags]) & flagsMask; d != 0 && !code.Flags {
		return fmt.Errorf("native: flags changed: %#x", d)
	}
	data, at := h.m.Data()
	if want := uint64(at) + FrameAt - uint64(code.Locals); out[SP] != want {
		return fmt.Errorf("native: stack pointer is %#x, not %#x", out[SP], want)
	}
	below := data[FrameAt-stackSize : FrameAt-code.Stack]
	if !bytes.Equal(below, zeros[:len(below)]) && !code.Calls {
		return fmt.Errorf("native: stack written more than %d bytes below the frame", code.Stack)
	}
	return nil
}

// Call calls a helper at an address, with the stack pointer at an offset of the
// data, and gives what it returns. An error says what it has changed that its
// callers count on.
func (m *Machine) Call(at arch.Addr, stack int, args []uint64) (uint64, error) {
	var in arch.Regs
	for w := range in {
		in[w] = 0x0101010101010101 * uint64(w+1)
	}
	in = Thread(in)
	for i, v := range args {
		in[homes[1+i]] = v
	}
	_, data := m.Data()
	in[SP] = uint64(data) + uint64(stack)
	before := in[SP]
	call(&in, m.exit)
	out := in
	m.Run(at, &out, nil)
	for w := range in {
		if kept(w) && w != SP && in[w] != out[w] && !slices.Contains(volatile, w) {
			return 0, fmt.Errorf("native: register word %d changed from %#x to %#x", w, in[w], out[w])
		}
	}
	if out[SP] != before {
		return 0, fmt.Errorf("native: stack pointer is %#x, not %#x", out[SP], before)
	}
	return out[homes[0]], nil
}

// Diff says what a run has changed of a thread's registers, "" if nothing.
func Diff(in, out *arch.Regs) string {
	for w := range in {
		if (kept(w) || w == SP) && in[w] != out[w] {
			return fmt.Sprintf("register word %d changed from %#x to %#x", w, in[w], out[w])
		}
	}
	if d := (in[flags] ^ out[flags]) & flagsMask; d != 0 {
		return fmt.Sprintf("flags changed: %#x", d)
	}
	return ""
}
