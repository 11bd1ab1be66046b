package symbols

import (
	"errors"
	"regexp"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/skip"
)

var (
	leads   = regexp.MustCompile(`^(?:bnd |notrack |lock |data16 )*(?:j[a-z]+|loop[a-z]*|call)(?:,p[nt])? +([0-9a-f]+)(?: |$)`)
	byTable = regexp.MustCompile(`^(?:bnd |notrack )*jmp +\*(?:%|.*,.*,)`)
)

// TestUndisturbed holds the proof against objdump: what a branch of its leads
// to is found, in every function where it sees a jump by a table that is said,
// and most functions are free of either.
func TestUndisturbed(t *testing.T) {
	path := tool(t, "bash")
	f := open(t, path)
	if isaOf(f).MinInst() != 1 {
		skip.Missing(t, "an amd64 program: elsewhere one instruction is displaced, and nothing leads into it")
	}
	targets, tables := map[arch.Addr]bool{}, map[arch.Addr]bool{}
	for at, text := range objdump(t, "objdump", path) {
		if m := leads.FindStringSubmatch(text); m != nil {
			to, err := strconv.ParseUint(m[1], 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			targets[arch.Addr(to)] = true
		}
		if byTable.MatchString(text) {
			tables[at] = true
		}
	}
	if len(targets) < 1000 || len(tables) < 10 {
		t.Fatalf("objdump sees %d targets and %d jumps by tables", len(targets), len(tables))
	}
	fns, err := f.Functions()
	if err != nil {
		t.Fatal(err)
	}
	free, disturbed := 0, 0
	for _, fn := range fns {
		err := f.Undisturbed(isaOf(f), fn.Addr, 5, true)
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
		for at := fn.Addr; at < fn.End(); at++ {
			if tables[at] && !errors.Is(err, ErrTable) && !errors.Is(err, ErrTarget) {
				t.Errorf("%s: a jump by a table at +%d: %v", fn.Name, at-fn.Addr, err)
			}
		}
		if one := f.Undisturbed(isaOf(f), fn.Addr, 5, false); one != nil && !errors.Is(one, ErrTarget) {
			t.Errorf("%s: one instruction: %v", fn.Name, one)
		}
	}
	lost := 0
	for to := range targets {
		if err := f.Undisturbed(isaOf(f), to-1, 5, false); !errors.Is(err, ErrTarget) {
			lost++
		}
	}
	t.Logf("%d of %d functions are free, %d branches lead behind a start, %d of %d are not seen", free, len(fns), disturbed, lost, len(targets))
	if lost > 0 {
		t.Errorf("%d branch targets are not known", lost)
	}
	if free < len(fns)*8/10 {
		t.Errorf("only %d of %d functions are free", free, len(fns))
	}
	if err := f.Undisturbed(isaOf(f), 1, 5, true); !errors.Is(err, ErrNoFunc) {
		t.Errorf("where there is no function: %v", err)
	}
}
