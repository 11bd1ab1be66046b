package breakpoint

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
)

// returns are blocks that end in a return without room for a jump, and the offset of the return:
// jumps are put at their starts.
var returns = []struct {
	code []byte
	at   arch.Addr
}{
	{[]byte{0x48, 0x89, 0xd0, 0x5b, 0xc3}, 4},                         // mov rax, rdx; pop rbx; ret: all under the jump
	{[]byte{0x48, 0x81, 0xc4, 0x88, 0, 0, 0, 0xc3}, 7},                // add rsp, 0x88; ret: the return behind it
	{[]byte{0x5b, 0x5d, 0xc3, 0xcc, 0xcc}, 2},                         // pop rbx; pop rbp; ret, and padding
	{[]byte{0x48, 0x83, 0xc4, 0x08, 0x5b, 0x5d, 0x41, 0x5c, 0xc3}, 8}, // add rsp, 8; pop; pop; pop r12; ret
}

const block = text + 0x100 // of the first, the others are 0x40 further

// withReturns makes memory that has these.
func withReturns() *space {
	mem := newSpace(amd64.ISA)
	for i, r := range returns {
		copy(mem.parts[text][0x100+0x40*i:], r.code)
	}
	return mem
}

func trapReturns(table *Table) (sites []*Site, ups []*Upgrade, err error) {
	var wants []Want
	for i, r := range returns {
		wants = append(wants, Want{Addr: block + arch.Addr(0x40*i) + r.at})
	}
	sites, errs := table.Insert(wants)
	for i, s := range sites {
		if s == nil {
			continue
		}
		up := &Upgrade{Site: s, From: block + arch.Addr(0x40*i), Code: handlerCode(amd64.ISA, 3)}
		if e := table.Plan(up, 1); e == nil {
			ups = append(ups, up)
		} else {
			err = errors.Join(err, e)
		}
	}
	return sites, ups, errors.Join(append(errs, err)...)
}

// TestJumpBack puts jumps before their sites.
func TestJumpBack(t *testing.T) {
	mem := withReturns()
	table := prepared(t, amd64.ISA, mem)
	before := bytes.Clone(mem.parts[text])
	sites, ups, err := trapReturns(table)
	if err != nil {
		t.Fatal(err)
	}
	trapped := bytes.Clone(mem.parts[text])
	if err := errors.Join(table.Arm(NewPause(0), ups)...); err != nil {
		t.Fatal(err)
	}
	hidden := func(what string) {
		t.Helper()
		seen := make([]byte, len(before))
		if err := table.ReadOriginal(text, seen); err != nil || !bytes.Equal(seen, before) {
			t.Errorf("%s: patches are seen: %v", what, err)
		}
		for i := range returns { // also in parts
			for from := range arch.Addr(12) {
				b := make([]byte, 3)
				at := block + arch.Addr(0x40*i) + from
				if err := table.ReadOriginal(at, b); err != nil || !bytes.Equal(b, before[at-text:][:3]) {
					t.Errorf("%s: at %v % x is seen: %v", what, at, b, err)
				}
			}
		}
	}
	hidden("jumps")
	for i, s := range sites {
		from := block + arch.Addr(0x40*i)
		in, err := amd64.ISA.Decode(mem.find(from, 5), from)
		if err != nil || in.Kind != arch.KindJump || !table.InTrampoline(in.Target) || s.JumpAt() != from {
			t.Fatalf("%d: %+v, %v", i, in, err)
		}
		up := ups[i]
		if fix, site, ok := table.Locate(in.Target); !ok || site != s || fix.PC != from || !fix.Before {
			t.Errorf("%d: the trampoline's start is shown as %+v", i, fix)
		}
		hit, _ := up.Hit(s.Addr)
		if _, _, ok := table.Locate(hit); ok {
			t.Errorf("%d: before its hit a task is shown somewhere", i)
		}
		behind, ok := up.Continue(s.Addr)
		if !ok || behind != hit+3 {
			t.Errorf("%d: the return is at %v, its hit at %v", i, behind, hit)
		}
		if d := up.Displaces(); d[len(d)-1] != s.Addr && i != 2 {
			t.Errorf("%d: %v are displaced", i, d)
		}
		for off := range returns[i].at + 1 {
			if over := table.JumpsOver(from+off, 1); len(over) != 1 || over[0] != s {
				t.Errorf("%d: over +%d: %v", i, off, over)
			}
		}
		if over := table.JumpsOver(from-1, 1); len(over) != 0 {
			t.Errorf("%d: before it: %v", i, over)
		}
		if _, errs := table.Insert([]Want{{Addr: from}}); !errors.Is(errs[0], ErrOverlap) {
			t.Errorf("%d: a site where the jump is: %v", i, errs[0])
		}
	}
	copied := &space{parts: map[arch.Addr][]byte{}}
	for a, p := range mem.parts {
		copied.parts[a] = bytes.Clone(p)
	}
	child := table.Clone(copied, copied)
	if err := child.Clear(NewPause(0), child.Sites()); err != nil || !bytes.Equal(copied.parts[text], before) {
		t.Errorf("a copy is not clean: %v", err)
	}
	if _, err := table.Disarm(NewPause(0), sites, "why"); err != nil || !bytes.Equal(mem.parts[text], trapped) {
		t.Errorf("they are not traps again: %v", err)
	}
	hidden("traps")
	if err := table.Clear(NewPause(0), sites); err != nil || !bytes.Equal(mem.parts[text], before) {
		t.Errorf("not restored: %v", err)
	}
}

// TestJumpBackRefused asks for jumps at places from which the program does not reach the site, and
// for two jumps that displace the same instruction.
func TestJumpBackRefused(t *testing.T) {
	mem := withReturns()
	table := prepared(t, amd64.ISA, mem)
	sites, errs := table.Insert([]Want{{Addr: block + 0x40 + 7}, {Addr: block + 0x40}})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, from := range []arch.Addr{block + 0x40 + 4, block + 0x40 + 8, block + 0x40 - MaxBack} {
		if err := table.Plan(&Upgrade{Site: sites[0], From: from, Code: handlerCode(amd64.ISA, 1)}, 1); err == nil {
			t.Errorf("from %v: planned", from)
		}
	}
	if err := table.Plan(&Upgrade{Site: sites[0], From: block + 0x40, Code: handlerCode(amd64.ISA, 1)}, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("over another site: %v", err)
	}
	if err := table.Clear(NewPause(0), sites[1:]); err != nil {
		t.Fatal(err)
	}
	up := &Upgrade{Site: sites[0], From: block + 0x40, Code: handlerCode(amd64.ISA, 1)}
	if err := table.Plan(up, 1); err != nil {
		t.Fatal(err)
	}
	entry, errs := table.Insert([]Want{{Addr: block + 0x40}})
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	other := &Upgrade{Site: entry[0], Code: handlerCode(amd64.ISA, 1)}
	if err := table.Plan(other, 1); !errors.Is(err, ErrOverlap) {
		t.Errorf("what another jump is to displace: %v", err)
	}
	table.Drop(up)
	if err := table.Plan(other, 1); err != nil {
		t.Errorf("when that was given up: %v", err)
	}
}

// TestJumpBackOrder dies at every write: a later tracer cleans up.
func TestJumpBackOrder(t *testing.T) {
	run := func(mem *space) (first int) {
		table := prepared(t, amd64.ISA, mem)
		first = mem.writes
		sites, ups, _ := trapReturns(table)
		_ = table.Arm(NewPause(0), ups)
		_, _ = table.Disarm(NewPause(0), sites[:1], "")
		_ = table.Clear(NewPause(0), table.Sites())
		return first
	}
	whole := withReturns()
	first := run(whole)
	for at := first + 1; at <= whole.writes+1; at++ {
		mem := withReturns()
		before := bytes.Clone(mem.parts[text])
		mem.broken = at
		run(mem)
		mem.broken = 0
		var areas []arch.Addr
		for a := range mem.parts {
			areas = append(areas, a)
		}
		found, ok := Recover(amd64.ISA, mem, mem, areas)
		if !ok {
			t.Fatalf("killed at write %d: nothing found", at)
		}
		for _, s := range found.Sites() {
			want := returns[(s.Addr-block)/0x40].code[(s.Addr-block)%0x40:]
			if !bytes.HasPrefix(s.Code(), want[:1]) {
				t.Errorf("killed at write %d: the code at %v is said to be % x", at, s.Addr, s.Code()[:4])
			}
		}
		if err := found.Clear(NewPause(0), found.Sites()); err != nil || !bytes.Equal(mem.parts[text], before) {
			t.Errorf("killed at write %d: not restored, %v\n% x\n% x", at, err, mem.parts[text][0x100:0x1e0], before[0x100:0x1e0])
		}
	}
}

// TestLibrary has code that trampolines call.
func TestLibrary(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		var at arch.Addr
		err := table.AddLibrary(text, func(base arch.Addr) ([]byte, error) { at = base; return bytes.Repeat([]byte{1, 2, 3, 4}, 2000), nil })
		if err != nil || !bytes.Equal(mem.find(at, 4), []byte{1, 2, 3, 4}) {
			t.Fatalf("at %v: %v", at, err)
		}
		var areas []arch.Addr
		for a := range mem.parts {
			areas = append(areas, a)
		}
		found, _ := Recover(isa, mem, mem, areas)
		for what, x := range map[string]*Table{"its own": table, "a copy": table.Clone(mem, mem), "whoever comes after": found} {
			addrs, _ := x.Areas()
			if !x.InTrampoline(at) || !x.InArea(at+7999) || x.InTrampoline(at+1<<20) || len(addrs) != 2 || SizeAt(mem, addrs[1]) == 0 {
				t.Errorf("%s: %v", what, addrs)
			}
			if _, _, ok := x.Locate(at); ok {
				t.Errorf("%s: a task in it is shown somewhere", what)
			}
		}
		failed := errors.New("no")
		if err := table.AddLibrary(text, func(arch.Addr) ([]byte, error) { return nil, failed }); !errors.Is(err, failed) {
			t.Error(err)
		}
	})
}

// ends are short functions, and the offset of their return: both ends share a jump.
var ends = []struct {
	code []byte
	at   arch.Addr
}{
	{[]byte{0x53, 0x5b, 0xc3, 0x66, 0x90}, 2},       // push rbx; pop rbx; ret, padding: the return is under the jump
	{[]byte{0x53, 0x48, 0x89, 0xfb, 0x5b, 0xc3}, 5}, // push; mov rbx, rdi; pop; ret: behind it
}

func withEnds() *space {
	mem := newSpace(amd64.ISA)
	for i, e := range ends {
		copy(mem.parts[text][0x100+0x40*i:], e.code)
	}
	return mem
}

// shareEnds plants traps at both ends of each and plans a jump for both.
func shareEnds(table *Table) (sites []*Site, ups []*Upgrade, err error) {
	var wants []Want
	for i, e := range ends {
		at := block + arch.Addr(0x40*i)
		wants = append(wants, Want{Addr: at}, Want{Addr: at + e.at})
	}
	sites, errs := table.Insert(wants)
	for i := range ends {
		a, b := sites[2*i], sites[2*i+1]
		if a == nil || b == nil {
			continue
		}
		up := &Upgrade{Site: b, From: a.Addr, Code: handlerCode(amd64.ISA, 2), Others: []Other{{a, handlerCode(amd64.ISA, 3)}}}
		if e := table.Plan(up, 1); e == nil {
			ups = append(ups, up)
		} else {
			err = errors.Join(err, e)
		}
	}
	return sites, ups, errors.Join(append(errs, err)...)
}

// TestJumpShared has one jump for both ends of a function.
func TestJumpShared(t *testing.T) {
	mem := withEnds()
	table := prepared(t, amd64.ISA, mem)
	before := bytes.Clone(mem.parts[text])
	sites, ups, err := shareEnds(table)
	if err != nil {
		t.Fatal(err)
	}
	trapped := bytes.Clone(mem.parts[text])
	if err := errors.Join(table.Arm(NewPause(0), ups)...); err != nil {
		t.Fatal(err)
	}
	seen := make([]byte, len(before))
	if err := table.ReadOriginal(text, seen); err != nil || !bytes.Equal(seen, before) {
		t.Errorf("patches are seen: %v", err)
	}
	for i, up := range ups {
		a, b := sites[2*i], sites[2*i+1]
		if !a.Jumps() || !b.Jumps() || a.JumpAt() != a.Addr || b.JumpAt() != a.Addr || a.Rung != Jump {
			t.Errorf("%d: jumps at %v and %v", i, a.JumpAt(), b.JumpAt())
		}
		first, _ := up.Hit(a.Addr)
		second, _ := up.Hit(b.Addr)
		if in, err := amd64.ISA.Decode(mem.find(a.Addr, 5), a.Addr); err != nil || in.Target != first || second <= first {
			t.Errorf("%d: hits at %v and %v, %v", i, first, second, in.Target)
		}
		if at, ok := up.Continue(a.Addr); !ok || at != first+3 {
			t.Errorf("%d: behind the first hit: %v", i, at)
		}
		if at, ok := up.Continue(b.Addr); !ok || at != second+2 {
			t.Errorf("%d: behind the second hit: %v", i, at)
		}
		if all := table.Sharing([]*Site{b}); len(all) != 2 {
			t.Errorf("%d: %d share it", i, len(all))
		}
	}
	copied := &space{parts: map[arch.Addr][]byte{}}
	for a, p := range mem.parts {
		copied.parts[a] = bytes.Clone(p)
	}
	child := table.Clone(copied, copied)
	if all := child.Sharing([]*Site{child.At(sites[1].Addr)}); len(all) != 2 || !slices.Contains(all, child.At(sites[0].Addr)) {
		t.Error("a copy's sites share nothing")
	}
	if err := child.Clear(NewPause(0), child.Sites()); err != nil || !bytes.Equal(copied.parts[text], before) {
		t.Errorf("a copy is not clean: %v", err)
	}
	if _, err := table.Disarm(NewPause(0), []*Site{sites[1], sites[2], sites[3]}, "why"); err != nil || !bytes.Equal(mem.parts[text], trapped) || table.AnyJump() {
		t.Errorf("they are not traps again: %v", err)
	}
	if len(table.old) != len(ends) {
		t.Errorf("%d trampolines are left", len(table.old))
	}
	if err := table.Clear(NewPause(0), sites); err != nil || !bytes.Equal(mem.parts[text], before) {
		t.Errorf("not restored: %v", err)
	}
}

// TestJumpSharedOrder dies at every write: a later tracer cleans up.
func TestJumpSharedOrder(t *testing.T) {
	run := func(mem *space) (first int) {
		table := prepared(t, amd64.ISA, mem)
		first = mem.writes
		sites, ups, _ := shareEnds(table)
		_ = table.Arm(NewPause(0), ups)
		_, _ = table.Disarm(NewPause(0), sites[:1], "")
		_ = table.Clear(NewPause(0), table.Sites())
		return first
	}
	whole := withEnds()
	first := run(whole)
	for at := first + 1; at <= whole.writes+1; at++ {
		mem := withEnds()
		before := bytes.Clone(mem.parts[text])
		mem.broken = at
		run(mem)
		mem.broken = 0
		var areas []arch.Addr
		for a := range mem.parts {
			areas = append(areas, a)
		}
		found, ok := Recover(amd64.ISA, mem, mem, areas)
		if !ok {
			t.Fatalf("killed at write %d: nothing found", at)
		}
		if err := found.Clear(NewPause(0), found.Sites()); err != nil || !bytes.Equal(mem.parts[text], before) {
			t.Errorf("killed at write %d: not restored, %v\n% x\n% x", at, err, mem.parts[text][0x100:0x150], before[0x100:0x150])
		}
	}
}
