package truth

import (
	"context"
	"debug/elf"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// rounds is how often the fixture regs comes to each place.
const rounds = 3

// pattern is what register 0 holds in the fixture regs; changed is what the result's
// does at the exit, and one more the first argument's or the second's.
const (
	pattern = 0xa1b2c3d4e5f60700
	changed = 0x0f1e2d3c4b5a6978
)

// register is one whose value is known, as far as the bits of mask go; 0: all.
type register struct {
	name  string
	value uint64
	mask  uint64
}

func (r register) expr() string {
	if r.mask == 0 {
		return "$" + r.name
	}
	return fmt.Sprintf("$%s & %#x", r.name, r.mask)
}

// registersAt are the registers at a place of the fixture.
func registersAt(t *testing.T, path, place string) []register {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]uint64{}
	for _, s := range symbols {
		at[s.Name] = s.Value
	}
	pc := at[map[string]string{"marked": "marked", "middle": "middle", "exit": "changed"}[place]]
	if runtime.GOARCH == "arm64" {
		return registersARM64(at, pc, place == "exit")
	}
	return registersAMD64(at, pc, place == "exit")
}

// registersAMD64 are in the order of their numbers in instructions.
func registersAMD64(at map[string]uint64, pc uint64, atExit bool) (list []register) {
	for i, name := range []string{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"} {
		list = append(list, register{name: name, value: pattern + uint64(i)})
	}
	list[4].value = at["top"] - 8
	if atExit {
		list[0].value, list[7].value = changed, changed+1
	}
	const flags = 0x8d5 | 1<<10 // with DF, which is 0
	return append(list, register{name: "rip", value: pc}, register{name: "eflags", value: 0x8d5, mask: flags})
}

func registersARM64(at map[string]uint64, pc uint64, atExit bool) (list []register) {
	for i := range 30 {
		list = append(list, register{name: fmt.Sprintf("x%d", i), value: pattern + uint64(i)})
	}
	if atExit {
		list[0].value, list[1].value = changed, changed+1
	}
	return append(list, register{name: "x30", value: at["returned"]}, register{name: "sp", value: at["top"]},
		register{name: "pc", value: pc}, register{name: "pstate", value: 0xf0000000, mask: 0xf0000000})
}

// TestRegisters holds what handlers see of registers against known values: behind a
// jump, at a trap and in the kernel, at an entry, in the middle, and at an exit.
func TestRegisters(t *testing.T) {
	path := fixture.Path(t, "regs")
	p := newTool(t)
	for _, by := range []struct{ where, rung string }{
		{"tracee", "jump"}, {"engine", "trap"}, {"engine", "step"}, {"engine", "hardware"}, {"kernel", "auto"},
	} {
		for _, place := range []string{"marked", "middle", "exit"} {
			t.Run(by.where+"/"+by.rung+"/"+place, func(t *testing.T) {
				if err := kernel.Available(); by.where == "kernel" && err != nil {
					skip.Missing(t, "eBPF: "+err.Error())
				}
				all := registersAt(t, path, place)
				flags := len(all) - 1 // which not every way has: by themselves
				for chunk := range slices.Chunk(all[:flags], 17) {
					p.checkRegisters(t, path, by.where, by.rung, place, chunk)
				}
				p.checkRegisters(t, path, by.where, by.rung, place, all[flags:])
			})
		}
	}
}

// checkRegisters records some registers at a place. What can't be had has to be
// refused.
func (p *tool) checkRegisters(t *testing.T, path, where, rung, place string, list []register) {
	location := map[string]string{"marked": "marked", "middle": "middle", "exit": "marked%return"}[place]
	var exprs, want []string
	if place == "exit" { // what has no ret is recorded at entries
		exprs, want = []string{"ret"}, []string{fmt.Sprint(changed)}
	}
	for _, r := range list {
		exprs = append(exprs, r.expr())
		want = append(want, fmt.Sprint(int64(r.value)))
	}
	args := []string{"record", "--json", "-v", "--where", where, "--fields", strings.Join(exprs, ","), location, "--", path}
	if rung != "auto" {
		args = slices.Insert(args, 1, "--method", rung)
	}
	out := filepath.Join(t.TempDir(), "out")
	o, err := p.start(context.Background(), args, out)
	if err != nil {
		t.Fatal(err)
	}
	line := "ptracer " + quote(args)
	if o.status != 0 {
		mayRefuse(t, line, where, rung, strings.Join(exprs, ","), o.said)
		return
	}
	a, err := readFile(out, o.said)
	if err != nil {
		t.Fatalf("%s\n  %v", line, err)
	}
	r := Row{Where: where, Rung: rung}
	if err := r.CheckMethod(a); err != nil {
		t.Errorf("%s\n  %v", line, err)
	}
	if len(a.Lines) != rounds {
		t.Errorf("%s\n  wanted %d lines, got %d", line, rounds, len(a.Lines))
	}
	for _, l := range a.Lines {
		got, err := fields(l.Fields)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\n  wanted %s\n  got    %s", line, strings.Join(want, " "), strings.Join(got, " "))
			return
		}
	}
}

// mayRefuse holds that only the flags are refused, by the tracee and the kernel, and
// what the machine has not: debug registers, room for a jump.
func mayRefuse(t *testing.T, line, where, rung, exprs, said string) {
	t.Helper()
	flags := strings.Contains(exprs, "flags") || strings.Contains(exprs, "pstate")
	switch {
	case !strings.Contains(said, "ptracer: "):
		t.Errorf("%s\n  nothing is said", line)
	case flags && where != "engine", rung == "hardware" && strings.Contains(said, "debug register"),
		rung == "jump" && runtime.GOARCH == "arm64":
		t.Logf("%s\n  refused: %s", line, said)
	default:
		t.Errorf("%s\n  %s", line, said)
	}
}
