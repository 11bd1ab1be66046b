package kernel

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// has reports whether programs of a type may call a helper: the verifier says so
// before it looks at the arguments.
func has(t *testing.T, kind ebpf.ProgramType, h *program.Helper) bool {
	t.Helper()
	p := &program.Program{Name: h.Name, Funcs: []program.Func{{Name: "main"}}, Insns: []program.Insn{
		{Op: program.ClassJmp | program.JmpCall, Imm: h.Num}, {Op: alu | program.AluMov}, {Op: exit},
	}}
	k, err := load(p, nil, as{kind: kind})
	if err == nil {
		k.Close()
		return true
	}
	log := refusal(err)
	if log == "" {
		t.Errorf("%s as %v: %v", h.Name, kind, err)
	}
	return !errors.Is(err, errors.ErrUnsupported)
}

// TestHelpers: a uprobe program has all that the table says the kernel has;
// what the types of test programs have not is in TestProgram's description.
func TestHelpers(t *testing.T) {
	available(t)
	missing := map[ebpf.ProgramType][]string{}
	for _, h := range program.Helpers {
		for _, kind := range []ebpf.ProgramType{ebpf.Kprobe, ebpf.Syscall, ebpf.RawTracepoint} {
			if h.Num == program.FnProbeWriteUser {
				continue // a locked-down kernel has it for no user
			}
			if h.Kernel && !has(t, kind, h) {
				missing[kind] = append(missing[kind], h.Name)
			}
		}
	}
	for _, list := range missing {
		slices.Sort(list)
	}
	for kind, want := range map[ebpf.ProgramType]string{
		ebpf.Kprobe:        "[]",
		ebpf.Syscall:       "[get_attach_cookie]",
		ebpf.RawTracepoint: "[]",
	} {
		if got := fmt.Sprint(missing[kind]); got != want {
			t.Errorf("%v: missing %s", kind, got)
		}
	}
}

// TestTestMaps: which types of map either type of test program may use.
func TestTestMaps(t *testing.T) {
	available(t)
	ld := program.Insn{Op: program.ClassLd | program.SizeDW, Dst: 1, Src: program.PseudoMap}
	for _, m := range []program.Map{
		{Type: program.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 8},
		{Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 8},
		{Type: program.PerCPUHash, KeySize: 4, ValueSize: 8, MaxEntries: 8},
		{Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 8},
		{Type: program.LRUHash, KeySize: 4, ValueSize: 8, MaxEntries: 8},
		{Type: program.RingBuf, MaxEntries: 4096},
		{Type: program.PerfEvents, KeySize: 4, ValueSize: 4, MaxEntries: 8},
		{Type: program.StackTrace, KeySize: 4, ValueSize: 80, MaxEntries: 8},
	} {
		p, err := LoadTest(prog(t, []program.Map{m}, ld, program.Insn{}, program.Insn{Op: alu | program.AluMov}, program.Insn{Op: exit}))
		if err != nil {
			t.Errorf("%v: %v", m.Type, err)
			continue
		}
		want := ebpf.Syscall
		if m.Type == program.PerfEvents || m.Type == program.StackTrace {
			want = ebpf.RawTracepoint
		}
		if p.Type != want {
			t.Errorf("%v: runs as %v", m.Type, p.Type)
		}
		if _, err := p.Run(make([]byte, 168)); err != nil {
			t.Errorf("%v: %v", m.Type, err)
		}
		p.Close()
	}
}
