package amd64

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/arch"
)

// TestRun checks which instructions a jump can displace.
func TestRun(t *testing.T) {
	for code, want := range map[string]string{
		"\x55\x48\x89\xe5\x41\x57":                 "1 3 2",
		"\xf3\x0f\x1e\xfa\x55":                     "4 1",
		"\x49\x3b\x66\x10\x0f\x86\x01\x02\x00\x00": "4 6", // how Go functions begin
		"\x49\x3b\x66\x10\x76\x20":                 "4 2",
		"\x48\x8b\x05\x10\x00\x00\x00":             "7",
		"\xe8\x00\x00\x00\x00":                     "5",
		"\x48\x89\xc7\xe8\x00\x00\x00\x00":         "3 5",
		"\x31\xc0\x48\xff\xe0":                     "2 3",
		"\x55\x48\x8b\x07\xc3\x90":                 "1 3f 1", // mov (%rdi), %rax
		"\x55\x48\x8b\x05\x00\x00\x00\x00":         "1 7",    // its own data
		"\x55\x48\x89\x44\x24\x08":                 "1 5",    // the stack
		"\x50\x64\x48\x8b\x04\x25\x28\x00\x00\x00": "1 9",    // the stack protector
		"\x55\x48\x89\x44\xc4\x08":                 "1 5f",   // indexed
		"\x55\x64\x48\x8b\x00\x90":                 "1 4f",   // %fs:(%rax)
		"\x55\x0f\x29\x04\x24\x90":                 "1 4f",   // movaps: alignment
		"\x55\x48\xf7\xf1\xc3\x90":                 "1 3f 1", // div %rcx
		"\x55\x41\x57\x41\xff\x20":                 "1 2 3f", // jmp *(%r8)
		"\x48\x8b\x08\x48\x8b\x58\x08":             "3 4fF",  // mov (%rax), %rcx; mov 8(%rax), %rbx
		"\x48\x8b\x00\x48\x8b\x58\x08":             "3 4f",   // mov (%rax), %rax
		"\x48\x8b\x08\x48\x8b\x5b\x08":             "3 4f",   // mov 8(%rbx), %rbx
		"\x48\x8b\x08\x90\x48\x8b\x58\x08":         "3 1 4f", // what is between may do anything
		"\x48\x8b\x08\x48\x8b\x98\x00\x10\x00\x00": "3 7f",   // mov 4096(%rax), %rbx
		"\x49\x8b\x08\x49\x8b\x58\x08":             "3 4fF",  // %r8
		"\x49\x8b\x08\x48\x8b\x58\x08":             "3 4f",   // %r8, %rax
		"\x9c\x55\x55\x55\x55":                     "flags",
		"\x85\xff\x74\x7f\x55\x90":                 "2 2 1", // test, je: goes on in the run
		"\x74\x20\x55\x55\x55\x55":                 "2 1 1 1",
		"\x74\x02\x55\x55\x55\x55":                 "leads to what would be displaced",
		"\x75\x00\x48\x8d\x43\xe0":                 "leads to what would be displaced",
		"\xe3\x02\x55\x55\x55\x55":                 "2 bytes|jump", // jrcxz has no longer form
		"\xeb\x02\x55\x55\x55\x55":                 "2 bytes|jump",
		"\xff\xd0\x55\x55\x55\x55":                 "jump, call or return",
		"\xc3\x90\x90\x90\x90\x90":                 "1",
		"\x53\x5b\xc3\x66\x90":                     "1 1 1",
		"\xc3\x0f\x1f\x44\x00\x00":                 "1",
		"\xeb\x10\xcc\xcc\xcc\xcc":                 "2",
		"\xc3\x90\x55\x90\x90\x90":                 "jump, call or return",
		"\x0f\x05\x90\x90\x90":                     "system call",
		"\x55\x0f\x05\x90\x90":                     "system call",
		"\x55\xcc\x90\x90\x90":                     "trap",
		"\x55\x55":                                 "truncated",
	} {
		list, err := ISA.Run([]byte(code), 0x1000, 5)
		var got []string
		for i, in := range list {
			got = append(got, fmt.Sprint(in.Len)+map[bool]string{true: "f"}[in.Faults && i > 0]+map[bool]string{true: "F"}[in.Follows])
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if last := want[strings.LastIndexByte(want, '|')+1:]; !strings.Contains(text, last) {
			t.Errorf("% x: %q, want %q", code, text, want)
		}
	}
}

// TestJump tries jumps up to their full range.
func TestJump(t *testing.T) {
	for to, ok := range map[arch.Addr]bool{0x1000: true, 0x1005 + 1<<31 - 1: true, 0x1005 + 1<<31: false} {
		b, err := ISA.Jump(nil, 0x1000, to)
		if ok != (err == nil) || err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("to %v: %v", to, err)
		}
		if in, err := ISA.Decode(append(b, 0x90), 0x1000); ok && (err != nil || in.Target != to || in.Len != ISA.JumpLen()) {
			t.Errorf("to %v: %+v, %v", to, in, err)
		}
	}
}

// TestRunSampled takes runs of instructions of real programs. Stepped in place and behind a jump
// they have the same effect; none behind the first faults; and at every boundary a task is shown
// where it would be.
func TestRunSampled(t *testing.T) {
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
		for range 1500 {
			pos := r.IntN(len(text) - 2*maxInst)
			list, err := ISA.Run(text[pos:pos+2*maxInst], from, jumpLen)
			if err != nil || len(list) < 2 || slices.ContainsFunc(list[1:], func(in arch.Inst) bool { return in.Faults }) {
				continue
			}
			if err := s.checkRun(r, &base, text[pos:], list); err != nil {
				t.Error(err)
			}
			n++
		}
	}
	if t.Logf("%d runs", n); n < 500 {
		t.Errorf("only %d runs", n)
	}
}

// checkRun compares a run in place and in a slot.
func (s *sandbox) checkRun(r *rand.Rand, base *arch.Regs, text []byte, list []arch.Inst) error {
	s.t.Helper()
	size := 0
	for _, in := range list {
		size += in.Len
	}
	code := bytes.Clone(text[:size])
	for i, at := 0, 0; i < len(list); i++ {
		in, err := parse(code[at:])
		if err != nil || in.seg != 0 || in.hasSIB && in.disp > 0x400 {
			return err // the sandbox has no thread's data, and little stack
		}
		if at += in.len; in.ripRelative() {
			binary.LittleEndian.PutUint32(code[at-in.len+in.dispAt:], uint32(sandData+r.Int64N(sandSize-64)-int64(from)-int64(at)))
		}
	}
	tr, err := newTrial(r, s, base, code)
	if err != nil {
		return err
	}
	copy(code, tr.code)
	tr.start.regs[regRSP] = sandData + sandSize/2 + r.Uint64N(64)*8
	tr.start.regs[regEFlags] &^= 1 << 18
	b := arch.Buffer{Addr: sandNear + arch.Addr(r.IntN(0x1000))}
	slot, err := ISA.RelocateRun(&b, code, from, list, nil)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil // an operand out of reach
	}
	if err != nil {
		return err
	}
	want, end, err := s.stepRun(&tr, code, list)
	if err != nil {
		return err
	}
	s.set(&tr.start, b.Addr, b.Code)
	for range 16 {
		signal := s.step()
		pc := s.regs()[regRIP]
		off := int64(pc - uint64(b.Addr))
		fix := findFix(slot.Fixes, int(off))
		switch {
		case signal != unix.SIGTRAP:
			if fix == nil || uint64(fix.PC) != want.regs[regRIP] {
				return fmt.Errorf("% x: %v at %d", code, signal, off)
			}
			return nil
		case off < 0 || off >= int64(slot.Len):
			got := s.get(signal)
			return wrap(code, different(end, &got, &want))
		case fix == nil:
			return fmt.Errorf("% x: no fix at %d of % x", code, off, b.Code)
		}
	}
	return fmt.Errorf("% x: does not leave its slot", code)
}

func wrap(code []byte, err error) error {
	if err != nil {
		return fmt.Errorf("% x: %w", code, err)
	}
	return nil
}

// stepRun steps a run in place.
func (s *sandbox) stepRun(tr *trial, code []byte, list []arch.Inst) (state, arch.Kind, error) {
	s.t.Helper()
	s.set(&tr.start, from, append(bytes.Clone(code), 0xeb, 0xfe))
	at := uint64(from)
	for i, in := range list {
		for range 8 {
			if signal := s.step(); signal != unix.SIGTRAP {
				st := s.get(signal)
				stack := in.Kind == arch.KindReturn || in.Kind == arch.KindCallIndirect || in.Kind == arch.KindJumpIndirect
				if rsp := st.regs[regRSP]; rsp < sandData+64 || rsp > sandData+sandSize-64 {
					stack = true // the program has none
				}
				if i > 0 && st.regs[regRIP] == at && !stack {
					return st, in.Kind, fmt.Errorf("% x: instruction %d faults: %v", code, i, signal)
				}
				return st, in.Kind, nil
			}
			if s.regs()[regRIP] != at { // not a string instruction's next round
				break
			}
		}
		if at += uint64(in.Len); s.regs()[regRIP] != at { // a branch leads out
			return s.get(unix.SIGTRAP), in.Kind, nil
		}
	}
	return s.get(unix.SIGTRAP), list[len(list)-1].Kind, nil
}

// FuzzRun displaces random code.
func FuzzRun(f *testing.F) {
	f.Add([]byte("\x55\x48\x89\xe5\x41\x57"))
	f.Add([]byte("\x49\x3b\x66\x10\x0f\x86\x01\x02\x00\x00"))
	f.Fuzz(func(t *testing.T, code []byte) {
		list, err := ISA.Run(code, 0x1000, jumpLen)
		if err != nil {
			return
		}
		b := arch.Buffer{Addr: 0x9000}
		slot, err := ISA.RelocateRun(&b, code, 0x1000, list, nil)
		if err == nil && (len(slot.Fixes) < len(list) || slot.Len != len(b.Code)) {
			t.Errorf("% x: %+v for %d instructions", code, slot, len(list))
		}
	})
}
