package amd64

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// from is where the tested instruction lies in the program.
const from = sandCode + 0x800

// state is all that an instruction can change.
type state struct {
	regs   arch.Regs
	xstate []byte
	mem    []byte
	signal unix.Signal // SIGTRAP: done; else it faulted
}

// trial is one instruction with one start.
type trial struct {
	code  []byte
	kind  arch.Kind
	start state
}

// newTrial prepares registers that make memory operands likely to exist, and
// an operand relative to rip that does.
// errMode is of sysenter: where the CPU has it (Intel's), the kernel comes back in 32-bit
// mode, in which there are other registers to be read.
var errMode = errors.New("it leaves 64-bit mode")

func newTrial(r *rand.Rand, s *sandbox, base *arch.Regs, code []byte) (trial, error) {
	in, err := parse(code)
	if err != nil {
		return trial{}, err
	}
	if !in.vector && in.table == map0F && in.op == 0x34 {
		return trial{}, errMode
	}
	tr := trial{code: bytes.Clone(code[:in.len]), kind: in.kind(code)}
	if in.ripRelative() {
		target := sandData + r.Int64N(sandSize-64)
		binary.LittleEndian.PutUint32(tr.code[in.dispAt:], uint32(target-from-int64(in.len)))
	}
	tr.start = state{regs: *base, xstate: s.xstate, mem: make([]byte, sandSize)}
	for i := range tr.start.mem {
		tr.start.mem[i] = byte(r.Uint32())
	}
	regs := &tr.start.regs
	for i, reg := range encoded {
		switch r.IntN(4) {
		case 0:
			regs[reg] = r.Uint64()
		case 1:
			regs[reg] = r.Uint64N(64)
		default:
			regs[reg] = sandData + 0x200 + r.Uint64N(sandSize-0x400)
		}
		if i == numRSP && r.IntN(8) != 0 {
			regs[reg] = sandData + sandSize/2 + r.Uint64N(64)*8
		}
	}
	if in.rep != 0 {
		regs[regRCX] = r.Uint64N(4)
	}
	if tr.kind == arch.KindSyscall {
		regs[regRAX] = 100_000 // no such call
	}
	const arith = 0x8d5
	regs[regEFlags] = 0x202 | r.Uint64()&(arith|1<<10)
	if r.IntN(8) == 0 {
		regs[regEFlags] |= 1 << 18 // AC: unaligned accesses fault
	}
	return tr, nil
}

// set puts the sandbox into the state, with code at pc.
func (s *sandbox) set(st *state, pc arch.Addr, code []byte) {
	s.t.Helper()
	s.write(sandData, st.mem)
	s.write(pc, code)
	s.setRegset(ntXState, st.xstate)
	regs := st.regs
	regs[regRIP] = uint64(pc)
	s.setRegs(&regs)
}

func (s *sandbox) get(signal unix.Signal) state {
	s.t.Helper()
	st := state{regs: s.regs(), xstate: s.regset(ntXState, 16<<10), mem: make([]byte, sandSize), signal: signal}
	s.read(sandData, st.mem)
	clear(st.xstate[6:24])           // the FPU's last instruction: where it was shows
	clear(st.xstate[512:520])        // which of them hold anything: the CPU's to guess
	st.regs[regOrigRAX] = ^uint64(0) // the kernel's
	// RF and TF are the stepping's. ID is what an earlier popf made it: ptrace
	// does not set it.
	st.regs[regEFlags] &^= 1<<21 | 1<<16 | 1<<8
	return st
}

// inPlace executes the instruction where the program has it.
func (s *sandbox) inPlace(tr *trial) state {
	s.t.Helper()
	// Where the kernel emulates (str, sgdt), one step is two instructions:
	// the second one stays where it is.
	s.set(&tr.start, from, append(bytes.Clone(tr.code), 0xeb, 0xfe))
	signal := s.step()
	if tr.kind == arch.KindOther { // a repeated string instruction stops every round
		for i := 0; i < 8 && signal == unix.SIGTRAP && s.regs()[regRIP] == from; i++ {
			signal = s.step()
		}
	}
	return s.get(signal)
}

// inSlot executes the instruction in a slot until it has left that, and looks
// at every boundary whether the fix shows the task as it would have been.
func (s *sandbox) inSlot(tr *trial, want *state, at arch.Addr) (state, error) {
	s.t.Helper()
	b := arch.Buffer{Addr: at}
	slot, err := ISA.Relocate(&b, tr.code, from)
	if err != nil {
		return state{}, err
	}
	s.set(&tr.start, at, b.Code)
	for range 16 {
		signal := s.step()
		regs := s.regs()
		off := int64(regs[regRIP] - uint64(at))
		if off < 0 || off >= int64(slot.Len) {
			return s.get(signal), nil
		}
		fix := findFix(slot.Fixes, int(off))
		if fix == nil {
			return state{}, fmt.Errorf("no fix at %d of % x", off, b.Code)
		}
		got := s.get(signal)
		got.regs[regRIP] = uint64(fix.PC)
		got.regs[regRSP] += uint64(fix.SP)
		if signal != unix.SIGTRAP {
			hidePush(&got, want, fix)
			return got, nil
		}
		if err := checkFix(tr, &got, want, fix); err != nil {
			return state{}, fmt.Errorf("at %d of % x: %w", off, b.Code, err)
		}
	}
	return state{}, fmt.Errorf("does not leave its slot: % x", b.Code)
}

func findFix(fixes []arch.Fix, off int) *arch.Fix {
	for i := range fixes {
		if fixes[i].Off == off {
			return &fixes[i]
		}
	}
	return nil
}

// hidePush takes what a call that faulted pushed, below the stack pointer,
// from the comparison.
func hidePush(got, want *state, fix *arch.Fix) {
	top := got.regs[regRSP] - sandData
	if fix.SP == 8 && top >= 8 && top <= sandSize {
		copy(got.mem[top-8:top], want.mem[top-8:top])
	}
}

// checkFix compares a task inside a slot with the one it is to be shown as.
func checkFix(tr *trial, got, want *state, fix *arch.Fix) error {
	if fix.PC == from && fix.Before {
		start := tr.start.regs
		start[regRIP], start[regOrigRAX] = from, ^uint64(0)
		if tr.kind == arch.KindOther {
			return nil // between the rounds of a string instruction
		}
		return differentRegs(&got.regs, &start)
	}
	if tr.kind == arch.KindSyscall {
		got.regs[regRCX] = want.regs[regRCX] // not yet loaded
	}
	if tr.kind == arch.KindBranch && want.signal != unix.SIGTRAP {
		return nil
	}
	return differentRegs(&got.regs, &want.regs)
}

func differentRegs(got, want *arch.Regs) error {
	for i := range numRegs {
		if got[i] != want[i] {
			return fmt.Errorf("%s %#x, not %#x", regNames[i], got[i], want[i])
		}
	}
	return nil
}

// different compares two ends. A call through memory has two accesses, and either may fault first.
func different(kind arch.Kind, got, want *state) error {
	if kind == arch.KindCallIndirect && got.signal != unix.SIGTRAP && want.signal != unix.SIGTRAP {
		got.signal = want.signal
	}
	switch {
	case got.signal != want.signal:
		return fmt.Errorf("ends by %v, not %v", got.signal, want.signal)
	case !bytes.Equal(got.mem, want.mem):
		return errors.New("memory differs")
	case !bytes.Equal(got.xstate, want.xstate):
		return errors.New("vector registers differ")
	}
	return differentRegs(&got.regs, &want.regs)
}

// check runs the trial in place and in slots near and far. It reports whether
// the instruction was comparable at all.
func (s *sandbox) check(r *rand.Rand, tr *trial) (supported bool, err error) {
	s.t.Helper()
	want := s.inPlace(tr)
	for _, at := range []arch.Addr{sandNear + arch.Addr(r.IntN(0x1000)), sandFar + arch.Addr(r.IntN(0x1000))} {
		got, err := s.inSlot(tr, &want, at)
		if errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err == nil {
			err = different(tr.kind, &got, &want)
		}
		if err != nil {
			if again := s.inPlace(tr); different(tr.kind, &again, &want) != nil {
				return false, nil // the clock, a random number
			}
			return false, fmt.Errorf("% x at %v: %w", tr.code, at, err)
		}
		supported = true
	}
	return supported, s.checkNext(tr, &want)
}

// checkNext compares Next with where the instruction went.
func (s *sandbox) checkNext(tr *trial, want *state) error {
	if want.signal != unix.SIGTRAP {
		return nil
	}
	read := func(at arch.Addr, p []byte) error {
		if at-sandData > arch.Addr(sandSize-len(p)) {
			_, err := s.mem.ReadAt(p, int64(at))
			return err
		}
		copy(p, tr.start.mem[at-sandData:])
		return nil
	}
	regs := tr.start.regs
	got, err := ISA.Next(tr.code, from, &regs, read)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err == nil && uint64(got) != want.regs[regRIP] {
		err = fmt.Errorf("%v, not %#x", got, want.regs[regRIP])
	}
	if err != nil {
		return fmt.Errorf("next of % x: %w (rcx %#x, eflags %#x)", tr.code, err, regs[regRCX], regs[regEFlags])
	}
	return nil
}

// liveTable is one instruction of every way to be relocated.
var liveTable = []string{
	"\x90", "\xf3\x0f\x1e\xfa", "\x0f\x1f\x44\x00\x00", "\x66\x90", "\xf3\x90",
	"\x55", "\x5d", "\x5c", "\x54", "\xc9", "\x9c", "\xc8\x10\x00\x00", "\x8f\x44\x24\x08", "\xff\x74\x24\x08",
	"\x48\x83\xec\x18", "\x48\x89\xe5", "\x48\xab", "\xf3\xa4", "\xf3\x48\xab", "\xf3\xa6", "\xf2\xae",
	"\x48\x8b\x05\x00\x00\x00\x00", "\x48\x8d\x3d\x00\x00\x00\x00", "\x67\x8b\x05\x00\x00\x00\x00", // relative to rip
	"\xc7\x05\x00\x00\x00\x00\x11\x22\x33\x44", "\x48\x83\x3d\x00\x00\x00\x00\x12", "\xf7\x05\x00\x00\x00\x00\x01\x02\x03\x04",
	"\xc5\xfe\x6f\x05\x00\x00\x00\x00", "\xc4\xe2\x7d\x18\x05\x00\x00\x00\x00", "\xc4\xe3\x79\x0f\x05\x00\x00\x00\x00\x05",
	"\x62\xf1\x7c\x48\x10\x05\x00\x00\x00\x00", "\x62\xf1\xfd\x48\x6f\x05\x00\x00\x00\x00", "\x66\x0f\x3a\x0f\x05\x00\x00\x00\x00\x03",
	"\xff\x25\x00\x00\x00\x00", "\xff\x15\x00\x00\x00\x00", "\xff\x35\x00\x00\x00\x00", "\x67\xff\x15\x00\x00\x00\x00",
	"\xeb\x10", "\xeb\xfe", "\xe9\x00\x01\x00\x00", "\xe8\x00\x00\x00\x00", "\xe8\x00\x00\x20\x00", "\xf2\xe9\x00\x01\x00\x00", "\x66\x48\xe8\x00\x01\x00\x00",
	"\xe0\x10", "\xe1\x10", "\xe2\x10", "\xe3\x10", "\x67\xe0\x10", "\x67\xe2\x80", "\x67\xe3\x10", "\xe2\xfe", "\xf2\xe1\x10", "\xf3\xe0\x10", "\xf3\xe2\x10", "\x2e\x74\x10", "\x3e\x0f\x85\x00\x01\x00\x00",
	"\xff\xd0", "\xff\xd3", "\x41\xff\xd4", "\x41\xff\xd7", "\xff\x10", "\xff\x53\x08", "\x41\xff\x14\x24", "\x41\xff\x54\x24\x08",
	"\xff\x14\x24", "\xff\x54\x24\x08", "\xff\x54\x24\x7c", "\xff\x94\x24\x00\x01\x00\x00", "\xff\x94\x24\xf0\xfe\xff\xff", "\xff\x14\xdc",
	"\x67\xff\x54\x24\x08", "\x42\xff\x14\x24", "\x42\xff\x54\x64\x08", "\xff\x14\xc5\x00\x00\x00\x18", "\x64\xff\x54\x24\x08", "\x3e\xff\xd0", "\xf2\xff\xd0",
	"\xff\xe0", "\x3e\xff\xe0", "\x41\xff\xe4", "\xff\x24\x24", "\xff\x64\x24\xf8", "\xff\x24\xc5\x00\x00\x00\x18",
	"\xc3", "\xf3\xc3", "\xf2\xc3", "\xc2\x10\x00", "\xcb", "\xcf", "\x48\xcf",
	"\x0f\x05", "\xcd\x80", "\x0f\x0b", "\xf4", "\x0f\x07", "\x0f\xb9\xc0", "\xcd\x20", "\xcd\x04",
	"\xf0\x48\xff\x00", "\x48\x0f\xb1\x0e", "\x9b", "\xdd\x06", "\x48\xa1\x00\x00\x00\x18\x00\x00\x00\x00", "\x67\xa1\x00\x00\x00\x18",
}

// liveUnsupported is what must be refused.
var liveUnsupported = []string{
	"\xcc", "\xf1", "\xcd\x03", "\xff\xd4", "\xff\x54\x24\xf8", "\xff\x54\x24\xf1", "\xff\x54\xc4\xf0", "\xff\x94\x24\xf8\xff\xff\x7f",
	"\xff\x18", "\x66\xff\xd0", "\x66\xe8\x00\x00\x00\x00", "\x66\xeb\x00", "\x66\x0f\x84\x00\x00\x00\x00", "\x0f\x34", "\x0f\x01\xd7",
}

func TestRelocateUnsupported(t *testing.T) {
	for _, code := range liveUnsupported {
		b := arch.Buffer{Addr: sandNear}
		if _, err := ISA.Relocate(&b, []byte(code), from); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("% x: %v", code, err)
		}
	}
}

func liveRand() *rand.Rand { return rand.New(rand.NewPCG(testSeed(), 2)) }

func TestRelocateTable(t *testing.T) {
	s, r := newSandbox(t), liveRand()
	base := s.regs()
	table := liveTable
	for cc := range byte(16) {
		table = append(table, string([]byte{0x70 | cc, 0x10}), string([]byte{0x0f, 0x80 | cc, 0, 1, 0, 0}))
	}
	for _, code := range table {
		for range 20 {
			tr, err := newTrial(r, s, &base, []byte(code))
			if err != nil {
				t.Fatalf("% x: %v", code, err)
			}
			supported, err := s.check(r, &tr)
			if err != nil {
				t.Errorf("%v", err)
				break
			}
			if !supported {
				t.Errorf("% x: not relocated", code)
				break
			}
		}
	}
}

// textOf is the first code section of an ELF file.
func textOf(t *testing.T, file string) []byte {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestRelocateSampled takes instructions from real programs, each opcode with
// each ModRM at most a few times.
func TestRelocateSampled(t *testing.T) {
	s, r := newSandbox(t), liveRand()
	base := s.regs()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range append([]string{self}, binaries...) {
		if _, err := os.Stat(file); err != nil {
			continue
		}
		text := textOf(t, file)
		seen := map[string]bool{}
		for pos := 0; pos < len(text) && len(seen) < 2500; {
			code := text[pos:min(len(text), pos+maxInst)]
			in, err := parse(code)
			if err != nil {
				pos++
				continue
			}
			pos += in.len
			shape := string(code[:max(in.opAt, in.modrmAt)+1])
			if seen[shape] || in.kind(code) == arch.KindTrap {
				continue
			}
			seen[shape] = true
			n += s.try(r, &base, code[:in.len])
		}
	}
	t.Logf("%d instructions", n)
	if n < 1000 {
		t.Errorf("only %d instructions compared", n)
	}
}

// TestRelocateRandom takes random instructions.
func TestRelocateRandom(t *testing.T) {
	s, r := newSandbox(t), liveRand()
	base := s.regs()
	n := 0
	for range 8000 {
		n += s.try(r, &base, randomInst(r))
	}
	t.Logf("%d instructions", n)
	if n < 1000 {
		t.Errorf("only %d instructions compared", n)
	}
}

// try checks one instruction and counts it if it could be relocated.
func (s *sandbox) try(r *rand.Rand, base *arch.Regs, code []byte) int {
	s.t.Helper()
	tr, err := newTrial(r, s, base, code)
	if err != nil || tr.kind == arch.KindTrap {
		return 0
	}
	supported, err := s.check(r, &tr)
	if err != nil {
		s.t.Errorf("%v", err)
	}
	if !supported {
		return 0
	}
	return 1
}
