package breakpoint

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
)

// punned is code with returns without room, and other code behind them, with which jumps of one
// byte can lead nearly everywhere.
var punned = []byte{
	0xc3,                         // 0: ret
	0x48, 0x89, 0xe5, 0x10, 0x55, // 1: mov %rsp, %rbp; adc %dl, 0x55(%rax)...
	0x5b, 0xc3, // 6: pop %rbx; ret
	0x48, 0x01, 0x02, 0x90, 0x90, // 8
	0xc3,                         // 13: ret, a jump behind it
	0xb8, 0x11, 0x22, 0x33, 0x44, // 14: mov $0x44332211, %eax
	0xc3, // 19
}

func punSpace(t *testing.T, at ...int) (*space, *Table, []*Site) {
	t.Helper()
	mem := &space{parts: map[arch.Addr][]byte{lib: make([]byte, 0x1000)}}
	copy(mem.parts[lib], punned)
	table := New(amd64.ISA, mem, mem)
	if err := table.Prepare(lib, 10); err != nil {
		t.Fatal(err)
	}
	var wants []Want
	for _, a := range at {
		wants = append(wants, Want{Addr: lib + arch.Addr(a)})
	}
	sites, errs := table.Insert(wants)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return mem, table, sites
}

// lib has 2 GB of free space below and above.
const lib arch.Addr = 0x7f0000400000

// pun makes a site a pun.
func pun(t *testing.T, table *Table, s *Site) *Upgrade {
	t.Helper()
	up := &Upgrade{Site: s, Pun: true, Code: handlerCode(amd64.ISA, 3)}
	if err := table.Plan(up, 1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(table.Arm(NewPause(0), []*Upgrade{up})...); err != nil {
		t.Fatal(err)
	}
	return up
}

// leadsTo follows the jump at a site, and the veneer at its target.
func leadsTo(t *testing.T, mem *space, s *Site) (veneer, trampoline arch.Addr) {
	t.Helper()
	in, err := amd64.ISA.Decode(mem.find(s.Addr, 5), s.Addr)
	if err != nil || in.Kind != arch.KindJump {
		t.Fatalf("no jump at %v: %+v, %v", s.Addr, in, err)
	}
	code := mem.find(in.Target, 14)
	if to, err := amd64.ISA.Decode(code, in.Target); err == nil && to.Kind == arch.KindJump {
		return in.Target, to.Target
	}
	if !bytes.HasPrefix(code, []byte{0xff, 0x25, 0, 0, 0, 0}) {
		t.Fatalf("no veneer at %v: % x", in.Target, code)
	}
	return in.Target, arch.Addr(le64(code[6:]))
}

func le64(b []byte) (v uint64) {
	for i, x := range b[:8] {
		v |= uint64(x) << (8 * i)
	}
	return v
}

// TestPun changes the bytes of the instruction only, and leads to the trampoline.
func TestPun(t *testing.T) {
	mem, table, sites := punSpace(t, 0)
	s := sites[0]
	up := pun(t, table, s)
	if s.Rung != Pun || !s.Jumps() || mem.parts[lib][0] != 0xe9 || !bytes.Equal(mem.parts[lib][1:len(punned)], punned[1:]) {
		t.Errorf("%v: % x", s.Rung, mem.parts[lib][:6])
	}
	veneer, trampoline := leadsTo(t, mem, s)
	if hit, _ := up.Hit(s.Addr); trampoline != hit {
		t.Errorf("it leads to %v, the trampoline is at %v", trampoline, hit)
	}
	if fix, at, ok := table.Locate(veneer); !ok || at != s || fix.PC != s.Addr || !fix.Before || !table.InTrampoline(veneer) {
		t.Errorf("in the veneer: %+v, %v", fix, ok)
	}
	seen := make([]byte, len(punned))
	if err := table.ReadOriginal(lib, seen); err != nil || !bytes.Equal(seen, punned) {
		t.Errorf("it is seen: % x, %v", seen, err)
	}
	if over := table.JumpsOver(lib+4, 1); len(over) != 1 || len(table.JumpsOver(lib+5, 1)) != 0 {
		t.Error("its last bytes are nobody's")
	}
	if _, err := table.Disarm(NewPause(0), sites, "why"); err != nil || mem.parts[lib][0] != 0xcc || s.Rung != Slot {
		t.Errorf("%v, %v: % x", err, s.Rung, mem.parts[lib][:6])
	}
	again := pun(t, table, s) // the veneer's place is determined: it is the same
	if v, trampoline := leadsTo(t, mem, s); v != veneer {
		t.Errorf("a veneer at %v, then at %v", veneer, v)
	} else if hit, _ := again.Hit(s.Addr); trampoline != hit {
		t.Errorf("it leads to %v, the trampoline is at %v", trampoline, hit)
	}
	table.Sweep(NewPause(0))
	if _, _, ok := table.Locate(veneer); !ok {
		t.Error("the veneer went with the old trampoline")
	}
	if err := table.Clear(NewPause(0), sites); err != nil || !bytes.Equal(mem.parts[lib][:len(punned)], punned) {
		t.Errorf("%v: % x", err, mem.parts[lib][:6])
	}
	if table.Sweep(NewPause(0)); len(table.veneers) != 0 {
		t.Error("a veneer is left")
	}
}

// TestPunLeans has patches of ptracer's behind a pun, which is removed with each of them.
func TestPunLeans(t *testing.T) {
	for _, jump := range []bool{false, true} {
		mem, table, sites := punSpace(t, 13, 14)
		a, b := sites[0], sites[1]
		trapped := bytes.Clone(mem.parts[lib])
		if jump {
			up := &Upgrade{Site: b, Code: handlerCode(amd64.ISA, 3)}
			if err := table.Plan(up, 1); err != nil {
				t.Fatal(err)
			}
			if err := table.Plan(&Upgrade{Site: a, Pun: true, Code: handlerCode(amd64.ISA, 3)}, 1); !errors.Is(err, ErrOverlap) {
				t.Errorf("over bytes that are going to change: %v", err)
			}
			if err := errors.Join(table.Arm(NewPause(0), []*Upgrade{up})...); err != nil {
				t.Fatal(err)
			}
		}
		pun(t, table, a)
		leadsTo(t, mem, a)
		if all := table.Sharing([]*Site{b}); len(all) != 2 || !slices.Contains(all, a) {
			t.Errorf("jump %v: %d lean on it", jump, len(all)-1)
		}
		if all := table.Sharing([]*Site{a}); len(all) != 1 {
			t.Errorf("jump %v: the one in front has %d", jump, len(all))
		}
		seen := make([]byte, len(punned))
		if err := table.ReadOriginal(lib, seen); err != nil || !bytes.Equal(seen, punned) {
			t.Errorf("it is seen: % x, %v", seen, err)
		}
		if !jump {
			if err := table.Plan(&Upgrade{Site: b, Code: handlerCode(amd64.ISA, 3)}, 1); !errors.Is(err, ErrOverlap) {
				t.Errorf("a jump where a pun leans: %v", err)
			}
			continue
		}
		if _, err := table.Disarm(NewPause(0), []*Site{b}, "why"); err != nil || a.Jumps() || b.Jumps() || !bytes.Equal(mem.parts[lib], trapped) {
			t.Errorf("%v: % x", err, mem.parts[lib][:20])
		}
	}
}

// TestPunWithoutRoom has a mapping where the pun leads.
func TestPunWithoutRoom(t *testing.T) {
	mem, table, sites := punSpace(t, 0)
	lo, hi, ok := amd64.ISA.Puns(mem.find(lib, 5), lib, 1)
	if !ok || lo != hi {
		t.Fatal(lo, hi, ok)
	}
	mem.parts[lo&^0xfff] = make([]byte, 0x2000)
	up := &Upgrade{Site: sites[0], Pun: true, Code: handlerCode(amd64.ISA, 3)}
	if err := table.Plan(up, 1); !errors.Is(err, errors.ErrUnsupported) || mem.parts[lib][0] != 0xcc {
		t.Errorf("%v", err)
	}
	if len(table.veneers) != 0 || table.Planned(lib) {
		t.Error("something is left")
	}
}

// TestPunRecover cleans up after a tracer that died, and in a copy of the space.
func TestPunRecover(t *testing.T) {
	mem, table, sites := punSpace(t, 0, 14)
	jump := &Upgrade{Site: sites[1], Code: handlerCode(amd64.ISA, 3)}
	if err := table.Plan(jump, 1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(table.Arm(NewPause(0), []*Upgrade{jump})...); err != nil {
		t.Fatal(err)
	}
	pun(t, table, sites[0])
	veneer, _ := leadsTo(t, mem, sites[0])
	copied := &space{parts: map[arch.Addr][]byte{}}
	for a, p := range mem.parts {
		copied.parts[a] = bytes.Clone(p)
	}
	child := table.Clone(copied, copied)
	if fix, s, ok := child.Locate(veneer); !ok || s != child.At(lib) || fix.PC != lib {
		t.Errorf("a copy's veneer: %+v, %v", fix, ok)
	}
	if err := child.Clear(NewPause(0), child.Sites()); err != nil || !bytes.Equal(copied.parts[lib][:len(punned)], punned) {
		t.Errorf("a copy is not clean: %v", err)
	}
	var mappings []arch.Addr
	for a := range mem.parts {
		if a != lib {
			mappings = append(mappings, a)
		}
	}
	dead, ok := Recover(amd64.ISA, mem, mem, mappings)
	if !ok || dead.At(lib) == nil || dead.At(lib).Rung != Pun {
		t.Fatalf("recovered: %v, %+v", ok, dead.At(lib))
	}
	if addrs, _ := dead.Areas(); len(addrs) != len(mappings) {
		t.Errorf("%d of %d mappings", len(addrs), len(mappings))
	}
	if fix, s, ok := dead.Locate(veneer); !ok || s != dead.At(lib) || fix.PC != lib || !dead.InTrampoline(veneer) {
		t.Errorf("its veneer: %+v, %v", fix, ok)
	}
	if err := dead.Clear(NewPause(0), dead.Sites()); err != nil || !bytes.Equal(mem.parts[lib][:len(punned)], punned) {
		t.Errorf("not clean: %v: % x", err, mem.parts[lib][:20])
	}
}
