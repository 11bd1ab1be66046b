package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"os/exec"
	"testing"

	"golang.org/x/arch/x86/x86asm"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/symbols"
)

// gprs are the places of amd64's general registers in arch.Regs, by number.
var gprs = []int{10, 11, 12, 5, 19, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0}

// TestTableTargets watches where real programs jump by tables: wherever that is,
// it was known when the file was read that something leads there.
func TestTableTargets(t *testing.T) {
	for name, args := range map[string][]string{
		"bash":             {"-c", "for i in 1 2 3; do case $i in 1) printf '%d%s\\n' 1 x;; *) [[ a == b ]]; echo $((i*2));; esac; done"},
		"/usr/bin/python3": {"-S", "-c", "import re\nprint(re.sub('(a|b)+', 'x', 'aabbc'), '%5.2f' % 1.5, [i for i in range(3)])"},
		"perl":             {"-e", "print join(',', sort map { $_*2 } 1..5), sprintf('%s', 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(name)
			if err != nil {
				skip.Missing(t, name)
			}
			watchTables(t, path, args)
		})
	}
}

func watchTables(t *testing.T, path string, args []string) {
	s, err := Start(context.Background(), Command{Path: path, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	if s.ISA().MinInst() != 1 {
		skip.Missing(t, "an amd64 program: elsewhere one instruction is displaced, and nothing leads into it")
	}
	m := mainModule(t, s)
	jumps, known, unknown := 0, 0, map[string]bool{}
	for _, at := range tableJumps(t, m, s.ISA()) {
		_, err := s.Register(ProbeSpec{Location: fmt.Sprintf("*%#x", uint64(at+m.Bias)), Action: ActionCall, Func: func(h Hit) {
			to, ok := jumpsTo(h, at+m.Bias)
			if !ok {
				return
			}
			jumps++
			to -= m.Bias
			if fn, ok := m.File.FunctionAt(at); !ok || to < fn.Addr || to >= fn.End() {
				return // to another function
			}
			if m.File.Undisturbed(s.ISA(), to-1, 1, []arch.Addr{to}) != nil {
				known++
			} else {
				unknown[fmt.Sprintf("%v to %v", at, to)] = true
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Resume(s.Processes()[0]); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	t.Logf("%d jumps by tables, %d in their function", jumps, known)
	if known < 50 || len(unknown) > 0 {
		t.Errorf("%d jumps, %d known, unknown: %v", jumps, known, unknown)
	}
}

func mainModule(t *testing.T, s Session) (m *symbols.Module) {
	t.Helper()
	if err := s.(*session).loop.Do(func() error {
		for _, p := range s.(*session).loop.Procs {
			m = p.Objects()[0]
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// tableJumps are a file's jumps that may be by tables.
func tableJumps(t *testing.T, m *symbols.Module, isa arch.ISA) (list []arch.Addr) {
	t.Helper()
	fns, err := m.File.Functions()
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range fns {
		all, err := m.File.Instructions(isa, fn)
		if err != nil {
			continue
		}
		for i, at := range all {
			b := make([]byte, 16)
			if i+1 < len(all) {
				b = b[:min(16, all[i+1]-at)]
			}
			if m.File.Text(at, b) != nil {
				continue
			}
			if in, err := isa.Decode(b, at); err == nil && in.Kind == arch.KindJumpIndirect && in.Table {
				list = append(list, at)
			}
		}
	}
	return list
}

// jumpsTo is where an indirect jump leads that a task stands before.
func jumpsTo(h Hit, at arch.Addr) (arch.Addr, bool) {
	b := make([]byte, 16)
	if h.ReadMemory(at, b) != nil {
		return 0, false
	}
	if b[0] == 0x3e { // notrack
		b = b[1:]
	}
	in, err := x86asm.Decode(b, 64)
	if err != nil || in.Op != x86asm.JMP {
		return 0, false
	}
	regs := h.Registers()
	reg := func(r x86asm.Reg) uint64 {
		if r < x86asm.RAX || r > x86asm.R15 {
			return 0
		}
		return regs[gprs[r-x86asm.RAX]]
	}
	switch a := in.Args[0].(type) {
	case x86asm.Reg:
		return arch.Addr(reg(a)), true
	case x86asm.Mem:
		var p [8]byte
		err := h.ReadMemory(arch.Addr(reg(a.Base)+reg(a.Index)*uint64(a.Scale)+uint64(a.Disp)), p[:])
		return arch.Addr(binary.LittleEndian.Uint64(p[:])), err == nil && a.Base != x86asm.RIP
	}
	return 0, false
}
