package symbols

import (
	"errors"
	"regexp"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/skip"
)

var (
	leads = regexp.MustCompile(`^(?:bnd |notrack |lock |data16 )*(?:j[a-z]+|loop[a-z]*|call)(?:,p[nt])? +([0-9a-f]+)(?: |$)`)
)

// TestUndisturbed holds the proof against objdump: what a branch of its leads
// to is found, and nearly all functions are free of such.
func TestUndisturbed(t *testing.T) {
	path := forge.Tool(t, "bash")
	f := open(t, path)
	if isaOf(f).MinInst() != 1 {
		skip.Missing(t, "an amd64 program: elsewhere one instruction is displaced, and nothing leads into it")
	}
	targets := map[arch.Addr]bool{}
	for _, text := range objdump(t, "objdump", path) {
		if m := leads.FindStringSubmatch(text); m != nil {
			to, err := strconv.ParseUint(m[1], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			targets[arch.Addr(to)] = true
		}
	}
	if len(targets) < 1000 {
		t.Fatalf("objdump sees %d targets", len(targets))
	}
	fns, err := f.Functions()
	if err != nil {
		t.Fatal(err)
	}
	free, disturbed := 0, 0
	for _, fn := range fns {
		err := f.Undisturbed(isaOf(f), fn.Addr, 5, inner(t, f, fn))
		if err == nil {
			free++
		}
		for at := fn.Addr + 1; at < fn.Addr+5; at++ {
			if targets[at] && !errors.Is(err, ErrTarget) {
				t.Errorf("%s: a branch to +%d: %v", fn.Name, at-fn.Addr, err)
			}
			if targets[at] {
				disturbed++
			}
		}
		if one := f.Undisturbed(isaOf(f), fn.Addr, 5, nil); one != nil && !errors.Is(one, ErrTarget) {
			t.Errorf("%s: one instruction: %v", fn.Name, one)
		}
	}
	lost := 0
	for to := range targets {
		if err := f.Undisturbed(isaOf(f), to-1, 5, nil); !errors.Is(err, ErrTarget) {
			lost++
		}
	}
	t.Logf("%d of %d functions are free, %d branches lead behind a start, %d of %d are not seen", free, len(fns), disturbed, lost, len(targets))
	if lost > 0 {
		t.Errorf("%d branch targets are not known", lost)
	}
	if free < len(fns)*98/100 {
		t.Errorf("only %d of %d functions are free", free, len(fns))
	}
	if err := f.Undisturbed(isaOf(f), 1, 5, []arch.Addr{2}); !errors.Is(err, ErrNoFunc) {
		t.Errorf("where there is no function: %v", err)
	}
}

// inner are the instructions that start in the second to fifth byte of a function.
func inner(t *testing.T, f *File, fn Function) (list []arch.Addr) {
	t.Helper()
	all, err := f.Instructions(isaOf(f), fn)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range all {
		if at > fn.Addr && at < fn.Addr+5 {
			list = append(list, at)
		}
	}
	return list
}

// TestTables reads tables of each kind: jumps by them into the middle of what
// would be displaced are known, also by one whose distances are counted from
// code, and where a place is computed.
func TestTables(t *testing.T) {
	for _, name := range []string{"tables", "tables-pie"} {
		f := open(t, fixture.Path(t, name))
		for fn, want := range map[string]error{
			"far": nil, "near": ErrTarget, "words": ErrTarget, "intext": ErrTarget, "computed": ErrTable,
			"pointer": nil, "plain": nil,
		} {
			list, err := f.Lookup(fn)
			if err != nil || len(list) != 1 {
				t.Fatal(fn, list, err)
			}
			if err := f.Undisturbed(isaOf(f), list[0].Addr, 5, inner(t, f, list[0])); !errors.Is(err, want) {
				t.Errorf("%s: %s: %v, want %v", name, fn, err, want)
			}
		}
	}
}
