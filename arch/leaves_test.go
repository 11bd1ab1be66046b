package arch_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
	"github.com/ptracer/ptracer/internal/native"
)

// leaving is a jump, run with a program's registers: word is the register that it reads, or -1 if
// it reads memory at the distance mem.
type leaving struct {
	name string
	code []byte
	word int
	mem  int // bytes behind where register rax, or the stack pointer, points
	sp   bool
}

const wordRAX, wordRCX, wordRBX, wordR13 = 10, 11, 5, 2

var leavings = map[string][]leaving{
	"amd64": {
		{"jmp rax", []byte{0xff, 0xe0}, wordRAX, -1, false},
		{"notrack jmp rcx", []byte{0x3e, 0xff, 0xe1}, wordRCX, -1, false},
		{"jmp r13", []byte{0x41, 0xff, 0xe5}, wordR13, -1, false},
		{"jmp [rax+16]", []byte{0xff, 0x60, 0x10}, -1, 16, false},
		{"jmp [rax]", []byte{0xff, 0x20}, -1, 0, false},
		{"jmp [rsp+8]", []byte{0xff, 0x64, 0x24, 0x08}, -1, 8, true},
		{"jmp [rsp]", []byte{0xff, 0x24, 0x24}, -1, 0, true},
		{"jmp [rsp+0x100]", []byte{0xff, 0xa4, 0x24, 0, 1, 0, 0}, -1, 0x100, true},
	},
	"arm64": {
		{"br x2", []byte{0x40, 0x00, 0x1f, 0xd6}, 2, -1, false},
		{"br x9", []byte{0x20, 0x01, 0x1f, 0xd6}, 9, -1, false},
		{"br x10", []byte{0x40, 0x01, 0x1f, 0xd6}, 10, -1, false},
		{"br x16", []byte{0x00, 0x02, 0x1f, 0xd6}, 16, -1, false},
	},
}

// marks are instructions that clear 8 bytes far below the stack pointer.
var marks = map[string][]byte{
	"amd64": {0x48, 0xc7, 0x84, 0x24, 0, 0xfe, 0xff, 0xff, 0, 0, 0, 0}, // mov qword [rsp-512], 0
	"arm64": {0xff, 0x03, 0x10, 0xf8},                                  // stur xzr, [sp, #-256]
}

var markAt = map[string]int{"amd64": -512, "arm64": -256}

const stack = 1 << 20

// TestLeavesIndirect runs the code that finds out where an indirect jump leads.
func TestLeavesIndirect(t *testing.T) {
	m, err := native.New()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	isa := map[string]arch.ISA{"amd64": amd64.ISA, "arm64": arm64.ISA}[runtime.GOARCH]
	rnd := rand.New(rand.NewPCG(1, 1))
	inside := [][2]arch.Addr{{0x1000, 0x1100}, {0x7fff_0000_0000, 0x7fff_0000_0010}}
	for _, l := range leavings[isa.Name()] {
		if native.Foreign(l.word) {
			continue
		}
		for to, leaves := range map[uint64]bool{0: true, 0xfff: true, 0x1000: false, 0x10ff: false, 0x1100: true, 0x7fff_0000_0000: false,
			0x7fff_0000_000f: false, 0x7fff_0000_0010: true, ^uint64(0): true} {
			for range 4 {
				runLeaving(t, m, isa, l, inside, to, leaves, rnd)
			}
		}
	}
}

func runLeaving(t *testing.T, m *native.Machine, isa arch.ISA, l leaving, inside [][2]arch.Addr, to uint64, leaves bool, rnd *rand.Rand) {
	t.Helper()
	mark := marks[isa.Name()]
	b := &arch.Buffer{Addr: m.Base()}
	fixes, err := isa.Leaves(b, l.code, 0x1000, inside, len(mark))
	if err != nil {
		t.Fatalf("%s: %v", l.name, err)
	}
	if (l.mem >= 0) != (len(fixes) == 1) {
		t.Errorf("%s: fixes %+v", l.name, fixes)
	}
	b.Bytes(mark...)
	b.Bytes(native.Jump(b.PC(), m.Exit())...)
	if err := m.Load(b.Code); err != nil {
		t.Fatal(err)
	}
	var in arch.Regs
	for w := range in {
		in[w] = rnd.Uint64()
	}
	in = native.Thread(in)
	data, at := m.Data()
	for i := range 1024 {
		data[stack-1024+i] = byte(i)
	}
	in[native.SP] = uint64(at) + stack
	switch {
	case l.sp:
		binary.LittleEndian.PutUint64(data[stack+l.mem:], to)
	case l.mem >= 0:
		in[wordRAX] = uint64(at) + 4096
		binary.LittleEndian.PutUint64(data[4096+l.mem:], to)
	default:
		in[l.word] = to
	}
	out := in
	m.Run(m.Base(), &out, nil)
	if d := native.Diff(&in, &out); d != "" {
		t.Errorf("%s to %#x: %s", l.name, to, d)
	}
	marked := binary.LittleEndian.Uint64(data[stack+markAt[isa.Name()]:]) == 0
	if marked != leaves {
		t.Errorf("%s to %#x: it leaves: %v", l.name, to, marked)
	}
	for i := range 128 {
		if isa.Name() == "amd64" && data[stack-128+i] != byte(1024-128+i) {
			t.Fatalf("%s: the red zone has changed", l.name)
		}
	}
}

// TestLeavesBranch checks the branch over the code for a taken jump.
func TestLeavesBranch(t *testing.T) {
	for _, c := range []struct {
		isa        arch.ISA
		code, want []byte
	}{
		{amd64.ISA, []byte{0x74, 0x10}, []byte{0x0f, 0x85, 0x28, 0, 0, 0}},                                  // je: jne over
		{amd64.ISA, []byte{0x0f, 0x8f, 1, 2, 3, 4}, []byte{0x0f, 0x8e, 0x28, 0, 0, 0}},                      // jg: jle over
		{arm64.ISA, []byte{0x00, 0x10, 0x00, 0x54}, []byte{0x40, 0x00, 0x00, 0x54, 0x0b, 0x00, 0x00, 0x14}}, // b.eq: b.eq +8; b over
		{arm64.ISA, []byte{0x01, 0x10, 0x00, 0xb4}, []byte{0x41, 0x00, 0x00, 0xb4, 0x0b, 0x00, 0x00, 0x14}}, // cbz
		{arm64.ISA, []byte{0x42, 0x10, 0x18, 0x37}, []byte{0x42, 0x00, 0x18, 0x37, 0x0b, 0x00, 0x00, 0x14}}, // tbnz
	} {
		var b arch.Buffer
		if _, err := c.isa.Leaves(&b, c.code, 0x1000, nil, 0x28); err != nil || string(b.Code) != string(c.want) {
			t.Errorf("%s % x: % x, not % x, %v", c.isa.Name(), c.code, b.Code, c.want, err)
		}
	}
	for _, c := range []struct {
		isa  arch.ISA
		code []byte
	}{{amd64.ISA, []byte{0xe3, 0x10}}, {amd64.ISA, []byte{0xe2, 0x10}}, {amd64.ISA, []byte{0xc3}}, {amd64.ISA, []byte{0xff, 0xe4}}, {amd64.ISA, []byte{0xff, 0x28}},
		{amd64.ISA, nil}, {arm64.ISA, []byte{0xc0, 0x03, 0x5f, 0xd6}}, {arm64.ISA, nil}} {
		var b arch.Buffer
		if _, err := c.isa.Leaves(&b, c.code, 0x1000, nil, 0x28); err == nil || c.code != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s % x: % x, %v", c.isa.Name(), c.code, b.Code, err)
		}
	}
}
