package breakpoint

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// jumpable are offsets in the test's code where jumps are planted.
var jumpable = map[string][]int{"amd64": {0, 8, 13}, "arm64": {0, 4, 12, 16, 28}}

// handlerCode stands for a handler: instructions without effect.
func handlerCode(isa arch.ISA, n int) func(*arch.Buffer) ([]arch.Fix, error) {
	nop := map[int][]byte{1: {0x90}, 4: {0x1f, 0x20, 0x03, 0xd5}}[isa.MinInst()]
	return func(b *arch.Buffer) ([]arch.Fix, error) { b.Bytes(bytes.Repeat(nop, n)...); return nil, nil }
}

// jumps plants traps and then jumps, with handlers of n instructions.
func jumps(t testing.TB, isa arch.ISA, table *Table, n int) (sites []*Site) {
	t.Helper()
	var wants []Want
	for _, off := range jumpable[isa.Name()] {
		wants = append(wants, Want{Addr: text + arch.Addr(off)})
	}
	sites, errs := table.Insert(wants)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	var ups []*Upgrade
	for i, s := range sites {
		up := &Upgrade{Site: s, Code: handlerCode(isa, n)}
		if err := table.Plan(up, len(sites)-i); err != nil {
			t.Fatal(err)
		}
		ups = append(ups, up)
	}
	if err := errors.Join(table.Arm(NewPause(0), ups)...); err != nil {
		t.Fatal(err)
	}
	return sites
}

// TestJump arms jumps, which lead to the handlers and on to the displaced instructions. Reads do
// not show the jumps, and the displaced code is restored.
func TestJump(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		for _, n := range []int{0, 1, 40, 200} {
			mem := newSpace(isa)
			before := bytes.Clone(mem.parts[text])
			table := prepared(t, isa, mem)
			sites := jumps(t, isa, table, n)
			for _, s := range sites {
				in, err := isa.Decode(mem.find(s.Addr, isa.JumpLen()), s.Addr)
				if err != nil || in.Kind != arch.KindJump || !table.InTrampoline(in.Target) || !s.Jumps() || s.Rung != Jump {
					t.Fatalf("%v: %+v, %v, rung %v", s.Addr, in, err, s.Rung)
				}
				if _, _, ok := table.Locate(in.Target); ok && n > 0 {
					t.Errorf("%v: in its handler a task is shown somewhere", s.Addr)
				}
				at := in.Target + arch.Addr(n*len(handlerNop(isa)))
				if fix, site, ok := table.Locate(at); !ok || site != s || fix.PC != s.Addr || !fix.Before {
					t.Errorf("%v: behind its handler: %+v, %v", s.Addr, fix, ok)
				}
			}
			seen := make([]byte, len(before))
			if err := table.ReadOriginal(text, seen); err != nil || !bytes.Equal(seen, before) {
				t.Errorf("jumps are seen: %v", err)
			}
			if n == 1 { // traps again, and jumps again
				if _, err := table.Disarm(NewPause(0), sites, "why"); err != nil || table.AnyJump() || sites[0].Reason != "why" {
					t.Errorf("disarm: %v", err)
				}
				for _, s := range sites {
					if !isa.IsTrap(mem.find(s.Addr, len(isa.Trap()))) {
						t.Errorf("%v is no trap", s.Addr)
					}
				}
				if !table.AnyTrampoline() {
					t.Error("a task in a handler would not be known")
				}
			}
			if err := table.Clear(NewPause(0), sites); err != nil || !bytes.Equal(mem.parts[text], before) {
				t.Errorf("not restored: %v\n% x\n% x", err, mem.parts[text][:30], before[:30])
			}
			table.Sweep(NewPause(0))
			if table.AnyTrampoline() || table.AnyJump() {
				t.Error("not swept")
			}
		}
	})
}

func handlerNop(isa arch.ISA) []byte {
	var b arch.Buffer
	_, _ = handlerCode(isa, 1)(&b)
	return b.Code
}

// TestJumpCells reuses cells.
func TestJumpCells(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		areas := 0
		for range 200 {
			sites := jumps(t, isa, table, 30)
			if err := table.Clear(NewPause(0), sites); err != nil {
				t.Fatal(err)
			}
			table.Sweep(NewPause(0))
			if addrs, _ := table.Areas(); areas == 0 {
				areas = len(addrs)
			} else if len(addrs) != areas {
				t.Fatalf("%d areas, before %d", len(addrs), areas)
			}
		}
	})
}

// TestJumpInWay has sites among the instructions that a jump displaces.
func TestJumpInWay(t *testing.T) {
	isa := each64[0]
	mem := newSpace(isa)
	table := prepared(t, isa, mem)
	sites := jumps(t, isa, table, 1)
	for _, off := range []arch.Addr{1, 4} {
		if _, errs := table.Insert([]Want{{Addr: text + off}}); !errors.Is(errs[0], ErrOverlap) {
			t.Errorf("site %d in a jump: %v", off, errs[0])
		}
		if over := table.JumpsOver(text+off, 1); len(over) != 1 || over[0] != sites[0] {
			t.Errorf("over %d: %v", off, over)
		}
	}
	if over := table.JumpsOver(text, 100); len(over) != len(sites) {
		t.Errorf("%d jumps over all", len(over))
	}
	if over := table.JumpsOver(text+6, 2); len(over) != 0 {
		t.Errorf("%d jumps between jumps", len(over))
	}
	// And of a jump with a site in its way.
	if _, err := table.Disarm(NewPause(0), sites[:1], ""); err != nil {
		t.Fatal(err)
	}
	if _, errs := table.Insert([]Want{{Addr: text + 4}}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	up := &Upgrade{Site: sites[0], Code: handlerCode(isa, 1)}
	if err := table.Plan(up, 1); !errors.Is(err, errors.ErrUnsupported) || sites[0].Jumps() {
		t.Errorf("a jump over a site: %v", err)
	}
}

// TestJumpRefused asks for impossible jumps.
func TestJumpRefused(t *testing.T) {
	isa := each64[0]
	mem := newSpace(isa)
	copy(mem.parts[text][0xffe:], []byte{0x48, 0x89})
	mem.parts[text] = append(mem.parts[text], make([]byte, 0x1000)...)
	copy(mem.parts[text][0xffe:], []byte{0x48, 0x8b, 0x05, 0, 0, 0, 0})
	table := prepared(t, isa, mem)
	for off, what := range map[arch.Addr]string{0xffe: "on two pages", 21: "a return and what is behind it", 22: "a trap", 23: "a system call"} {
		sites, errs := table.Insert([]Want{{Addr: text + off}})
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
		if err := table.Plan(&Upgrade{Site: sites[0], Code: handlerCode(isa, 1)}, 1); err == nil {
			t.Errorf("%s: planned", what)
		}
	}
	failed := errors.New("no code")
	sites, _ := table.Insert([]Want{{Addr: text + 8}})
	up := &Upgrade{Site: sites[0], Code: func(*arch.Buffer) ([]arch.Fix, error) { return nil, failed }}
	if err := table.Plan(up, 1); !errors.Is(err, failed) {
		t.Error(err)
	}
}

// TestJumpOrder dies at every write: a later tracer finds each patch and removes it.
func TestJumpOrder(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		run := func(mem *space) (first int) {
			table := prepared(t, isa, mem)
			first = mem.writes
			var wants []Want
			for _, off := range jumpable[isa.Name()] {
				wants = append(wants, Want{Addr: text + arch.Addr(off)})
			}
			for range 3 { // again, while tasks may be inside the earlier cells
				sites, _ := table.Insert(wants)
				var ups []*Upgrade
				for _, s := range sites {
					if s != nil {
						if up := (&Upgrade{Site: s, Code: handlerCode(isa, 20)}); table.Plan(up, 1) == nil {
							ups = append(ups, up)
						}
					}
				}
				_ = table.Arm(NewPause(0), ups)
				_, _ = table.Disarm(NewPause(0), sites[:1], "")
				_ = table.Clear(NewPause(0), table.Sites())
			}
			return first
		}
		whole := newSpace(isa)
		first := run(whole)
		for at := first + 1; at <= whole.writes+1; at++ {
			mem := newSpace(isa)
			before := bytes.Clone(mem.parts[text])
			mem.broken = at
			run(mem)
			mem.broken = 0
			areas := slices.Sorted(maps.Keys(mem.parts))
			if at%2 == 0 {
				slices.Reverse(areas)
			}
			found, ok := Recover(isa, mem, mem, areas)
			if !ok {
				t.Fatalf("killed at write %d: nothing found", at)
			}
			for _, s := range found.Sites() {
				if in, err := isa.Decode(mem.find(s.Addr, isa.JumpLen()), s.Addr); err == nil && s.Jumps() && !found.InTrampoline(in.Target) {
					t.Errorf("killed at write %d: the trampoline of %v is not known", at, s.Addr)
				}
			}
			if err := found.Clear(NewPause(0), found.Sites()); err != nil || !bytes.Equal(mem.parts[text], before) {
				t.Errorf("killed at write %d: not restored, %v\n% x\n% x", at, err, mem.parts[text][:32], before[:32])
			}
		}
	})
}

// TestJumpClone forks: changes in one space do not show in the other.
func TestJumpClone(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		before := bytes.Clone(mem.parts[text])
		table := prepared(t, isa, mem)
		sites := jumps(t, isa, table, 3)
		copied := &space{parts: map[arch.Addr][]byte{}}
		for a, p := range mem.parts {
			copied.parts[a] = bytes.Clone(p)
		}
		child := table.Clone(copied, copied)
		if !child.AnyJump() || !child.InTrampoline(sites[0].trampoline.addr) {
			t.Fatal("the child has no jumps")
		}
		if err := child.Clear(NewPause(0), child.Sites()); err != nil || !bytes.Equal(copied.parts[text], before) {
			t.Errorf("the child is not clean: %v", err)
		}
		child.Sweep(NewPause(0))
		if !table.InTrampoline(sites[0].trampoline.addr) || !sites[0].Jumps() || bytes.Equal(mem.parts[text], before) {
			t.Error("the parent has lost its jumps")
		}
	})
}

// TestJumpRecoverTwice recovers sites that were removed and inserted again: their earlier entries
// are still in the index, before or behind the armed ones.
func TestJumpRecoverTwice(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		before := bytes.Clone(mem.parts[text])
		table := prepared(t, isa, mem)
		for len(table.areas) < 4 {
			if err := table.Clear(NewPause(0), table.Sites()); err != nil {
				t.Fatal(err)
			}
			jumps(t, isa, table, 20)
		}
		armed := bytes.Clone(mem.parts[text])
		areas := slices.Sorted(maps.Keys(mem.parts))
		for range 2 {
			slices.Reverse(areas)
			copy(mem.parts[text], armed)
			found, ok := Recover(isa, mem, mem, areas)
			if !ok {
				t.Fatal("nothing found")
			}
			if err := found.Clear(NewPause(0), found.Sites()); err != nil || !bytes.Equal(mem.parts[text], before) {
				t.Errorf("not restored, %v\n% x\n% x", err, mem.parts[text][:32], before[:32])
			}
		}
	})
}

// TestQuiet has sites with nothing planted but their jumps. They become traps when another caller
// asks for a stop there, or when Speak is called.
func TestQuiet(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		before := bytes.Clone(mem.parts[text])
		table := prepared(t, isa, mem)
		var wants []Want
		for _, off := range jumpable[isa.Name()] {
			wants = append(wants, Want{Addr: text + arch.Addr(off), Quiet: true})
		}
		untouched := func(when string) {
			t.Helper()
			if !bytes.Equal(mem.parts[text], before) {
				t.Errorf("%s: %x, not %x", when, mem.parts[text], before)
			}
		}
		sites, errs := table.Insert(wants)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		untouched("inserted")
		jump := func() {
			t.Helper()
			for _, s := range sites {
				up := &Upgrade{Site: s, Code: handlerCode(isa, 1)}
				if err := table.Plan(up, 1); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(table.Arm(NewPause(0), []*Upgrade{up})...); err != nil || !s.Jumps() {
					t.Fatal(err)
				}
			}
		}
		jump()
		if _, err := table.Disarm(NewPause(0), sites, ""); err != nil {
			t.Error(err)
		}
		untouched("without its jump")
		jump()
		first := sites[0]
		again, errs := table.Insert([]Want{{Addr: first.Addr}}) // another caller asks for a stop
		if errs[0] != nil || again[0] != first {
			t.Fatal(again, errs)
		}
		if _, err := table.Disarm(NewPause(0), sites, ""); err != nil {
			t.Error(err)
		}
		for i, s := range sites {
			if trap := isa.IsTrap(mem.find(s.Addr, len(isa.Trap()))); trap != (i == 0) {
				t.Errorf("%v is a trap: %v", s.Addr, trap)
			}
			if err := table.Speak(s); err != nil || !isa.IsTrap(mem.find(s.Addr, len(isa.Trap()))) {
				t.Errorf("%v is told to speak and is no trap: %v", s.Addr, err)
			}
		}
		if err := table.Clear(NewPause(0), sites); err != nil {
			t.Error(err)
		}
		untouched("removed")
	})
}

// TestHalfJump has kernel uprobes placed on jumps and removed: the first byte of each is the
// program's again, the bytes behind it are not. Every operation that removes jumps restores the
// code, also after the tracer's death.
func TestHalfJump(t *testing.T) {
	isa := each64[0]
	for name, undo := range map[string]func(*Table, []*Site) error{
		"clear": func(table *Table, sites []*Site) error { return table.Clear(NewPause(0), sites) },
		"disarm": func(table *Table, sites []*Site) error {
			all, err := table.Disarm(NewPause(0), sites, "why")
			for _, s := range all {
				if !isa.IsTrap(table.mem.(*space).find(s.Addr, 1)) {
					t.Errorf("%v is no trap", s.Addr)
				}
			}
			return errors.Join(err, table.Clear(NewPause(0), all))
		},
		"a dead tracer's": func(table *Table, sites []*Site) error {
			mem := table.mem.(*space)
			found, ok := Recover(isa, mem, mem, slices.Sorted(maps.Keys(mem.parts)))
			if !ok {
				return errors.New("nothing found")
			}
			return found.Clear(NewPause(0), found.Sites())
		},
	} {
		mem := newSpace(isa)
		before := bytes.Clone(mem.parts[text])
		table := prepared(t, isa, mem)
		sites := jumps(t, isa, table, 20)
		for i, s := range sites {
			if s.Jumps() && i%2 == 0 {
				at := mem.find(s.trampoline.from, 1)
				at[0] = s.trampoline.code[0]
			}
		}
		if err := undo(table, sites); err != nil || !bytes.Equal(mem.parts[text], before) {
			t.Errorf("%s: %v; not restored:\n% x\n% x", name, err, mem.parts[text][:60], before[:60])
		}
	}
}
