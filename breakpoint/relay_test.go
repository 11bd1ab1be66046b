package breakpoint

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
)

// relayed is two short functions as Go's linker lays them out.
var relayed = slices.Concat(
	[]byte{0x8b, 0x48, 0x08, 0xc3}, bytes.Repeat([]byte{0xcc}, 12), // mov 8(%rax), %ecx; ret
	[]byte{0x89, 0xd8, 0xc3}, bytes.Repeat([]byte{0xcc}, 13), // mov %ebx, %eax; ret
)

func relaySpace(t *testing.T) (*space, *Table, []*Site) {
	t.Helper()
	mem := &space{parts: map[arch.Addr][]byte{lib: make([]byte, 0x1000)}}
	copy(mem.parts[lib], relayed)
	table := New(amd64.ISA, mem, mem)
	if err := table.Prepare(lib, 10); err != nil {
		t.Fatal(err)
	}
	sites, errs := table.Insert([]Want{{Addr: lib}, {Addr: lib + 16}})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return mem, table, sites
}

func codeIn(mem *space) []byte { return mem.parts[lib][:len(relayed)] }

// short makes a short jump of a site, by a relay at one of some places.
func short(t *testing.T, table *Table, s *Site, places ...arch.Addr) (*Upgrade, error) {
	t.Helper()
	up := &Upgrade{Site: s, Relays: places, Code: handlerCode(amd64.ISA, 3)}
	if err := table.Plan(up, 1); err != nil {
		return nil, err
	}
	return up, errors.Join(table.Arm([]*Upgrade{up})...)
}

// follow gives where the short jump at a site leads, and where that leads.
func follow(t *testing.T, mem *space, s *Site) (relay, run arch.Addr) {
	t.Helper()
	in, err := amd64.ISA.Decode(mem.find(s.Addr, 5), s.Addr)
	if err != nil || in.Kind != arch.KindJump || in.Len != 2 {
		t.Fatalf("no short jump at %v: %+v, %v", s.Addr, in, err)
	}
	to, err := amd64.ISA.Decode(mem.find(in.Target, 5), in.Target)
	if err != nil || to.Kind != arch.KindJump || to.Len != 5 {
		t.Fatalf("no relay at %v: %+v, %v", in.Target, to, err)
	}
	return in.Target, to.Target
}

// TestRelay displaces one instruction of three bytes, and the padding is the
// program's again when nobody can be in it.
func TestRelay(t *testing.T) {
	mem, table, sites := relaySpace(t)
	s := sites[0]
	up, err := short(t, table, s, lib+2, lib+4, lib+9) // the first lies in code
	if err != nil {
		t.Fatal(err)
	}
	relay, run := follow(t, mem, s)
	if hit, _ := up.Hit(lib); relay != lib+4 || run != hit || s.Rung != Jump || !bytes.Equal(mem.parts[lib][2:4], relayed[2:4]) {
		t.Errorf("%v: relay at %v, run at %v, not %v: % x", s.Rung, relay, run, hit, codeIn(mem))
	}
	if fix, at, ok := table.Locate(relay); !ok || at != s || fix.PC != lib || !fix.Before || !table.InRun(relay) || !table.InArea(relay) || table.InRun(relay+1) {
		t.Errorf("in the relay: %+v, %v", fix, ok)
	}
	for from := range len(relayed) { // the whole, and from its middle
		seen := make([]byte, len(relayed)-from)
		if err := table.ReadOriginal(lib+arch.Addr(from), seen); err != nil || !bytes.Equal(seen, relayed[from:]) {
			t.Errorf("it is seen from %d: % x, %v", from, seen, err)
		}
	}
	for at, want := range map[arch.Addr]int{2: 1, 3: 0, 4: 1, 8: 1, 9: 0} {
		if over := table.JumpsOver(lib+at, 1); len(over) != want {
			t.Errorf("%d jumps over byte %d", len(over), at)
		}
	}
	if _, err := short(t, table, sites[1], lib+4, lib+7); !errors.Is(err, ErrUnsupported) {
		t.Errorf("two relays at a place: %v", err)
	}
	if _, err := short(t, table, sites[1], lib+9); err != nil {
		t.Error(err)
	}
	if _, err := table.Disarm([]*Site{s}, "why"); err != nil || s.Rung != Slot || mem.parts[lib][0] != 0xcc || mem.parts[lib][1] != relayed[1] {
		t.Errorf("%v, %v: % x", err, s.Rung, codeIn(mem))
	}
	if up, err = short(t, table, s, lib+4); err != nil { // nobody else's
		t.Fatal(err)
	}
	if relay, run := follow(t, mem, s); relay != lib+4 || run != up.run.addr {
		t.Errorf("the second time by %v to %v, not %v", relay, run, up.run.addr)
	}
	table.Sweep()
	follow(t, mem, s)
	if err := table.Remove(sites); err != nil || mem.parts[lib][4] != 0xe9 {
		t.Errorf("%v: tasks in the relay have nowhere to go: % x", err, codeIn(mem))
	}
	if table.Sweep(); !bytes.Equal(codeIn(mem), relayed) || len(table.veneers) != 0 || table.InArea(lib+4) {
		t.Errorf("left: % x", codeIn(mem))
	}
}

// TestRelayDropped gives up a jump for which the relay of an old one was to be used:
// tasks may be on their way there.
func TestRelayDropped(t *testing.T) {
	mem, table, sites := relaySpace(t)
	if _, err := short(t, table, sites[0], lib+4); err != nil {
		t.Fatal(err)
	}
	_, run := follow(t, mem, sites[0])
	if _, err := table.Disarm(sites, "why"); err != nil {
		t.Fatal(err)
	}
	up := &Upgrade{Site: sites[0], Relays: []arch.Addr{lib + 4}, Code: handlerCode(amd64.ISA, 3)}
	if err := table.Plan(up, 1); err != nil {
		t.Fatal(err)
	}
	if table.Drop(up); !table.InArea(lib + 4) {
		t.Error("the old relay is forgotten")
	}
	if to, _ := amd64.ISA.Decode(mem.find(lib+4, 5), lib+4); to.Target != run {
		t.Errorf("it leads to %v, not %v", to.Target, run)
	}
	if err := errors.Join(table.Remove(sites), table.Restore()); err != nil || !bytes.Equal(codeIn(mem), relayed) {
		t.Errorf("%v: % x", err, codeIn(mem))
	}
}

// TestRelayRefused is of places where there is more than traps, or too far away.
func TestRelayRefused(t *testing.T) {
	mem, table, sites := relaySpace(t)
	mem.parts[lib][6] = 0x90
	far := make([]byte, 8)
	for i := range far {
		far[i] = 0xcc
	}
	copy(mem.parts[lib][0x200:], far)
	before := bytes.Clone(mem.parts[lib])
	for _, at := range []arch.Addr{lib + 4, lib + 0x200, lib + 0x5000, lib + 14} {
		if _, err := short(t, table, sites[0], at); !errors.Is(err, errNoRelay) || table.Planned(lib) || len(table.veneers) != 0 {
			t.Errorf("at %v: %v", at, err)
		}
	}
	if !bytes.Equal(before, mem.parts[lib]) {
		t.Errorf("% x", codeIn(mem))
	}
}

// TestRelayGone has other code where the relay was: it stays.
func TestRelayGone(t *testing.T) {
	mem, table, sites := relaySpace(t)
	if _, err := short(t, table, sites[0], lib+4); err != nil {
		t.Fatal(err)
	}
	other := bytes.Repeat([]byte{0x90}, 16)
	copy(mem.parts[lib], other)
	table.Unmapped(lib, lib+0x1000)
	seen := make([]byte, 16)
	if err := table.ReadOriginal(lib, seen); err != nil || !bytes.Equal(seen, other) || table.InArea(lib+4) || table.InRun(lib+4) {
		t.Errorf("what has come there is seen as % x, %v", seen, err)
	}
	if err := table.Restore(); err != nil || !bytes.Equal(mem.parts[lib][:16], other) {
		t.Errorf("%v: % x", err, codeIn(mem))
	}
}

// TestRelayWritten has somebody write where an old relay is.
func TestRelayWritten(t *testing.T) {
	mem, table, sites := relaySpace(t)
	if _, err := short(t, table, sites[0], lib+4); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Disarm(sites, "why"); err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(relayed)
	copy(want[6:], "new")
	if err := table.WriteOriginal(lib+6, []byte("new")); err != nil {
		t.Fatal(err)
	}
	seen := make([]byte, len(relayed))
	if err := table.ReadOriginal(lib, seen); err != nil || !bytes.Equal(seen, want) {
		t.Errorf("it is seen as % x, %v", seen, err)
	}
	if err := errors.Join(table.Remove(sites), table.Restore()); err != nil || !bytes.Equal(codeIn(mem), want) {
		t.Errorf("%v: % x", err, codeIn(mem))
	}
}

// TestRelayRecover cleans up in a copy of the space, and behind a tracer that died
// before and after it had armed the jump.
func TestRelayRecover(t *testing.T) {
	for _, armed := range []bool{true, false} {
		mem, table, sites := relaySpace(t)
		if _, err := short(t, table, sites[0], lib+4); err != nil {
			t.Fatal(err)
		}
		if !armed { // it has written the relay, and no more
			copy(mem.parts[lib], []byte{0xcc, 0x48})
		}
		copied := &space{parts: map[arch.Addr][]byte{}}
		var mappings []arch.Addr
		for a, p := range mem.parts {
			copied.parts[a] = bytes.Clone(p)
			if a != lib {
				mappings = append(mappings, a)
			}
		}
		if armed {
			child := table.Clone(copied, copied)
			if fix, s, ok := child.Locate(lib + 4); !ok || s != child.At(lib) || fix.PC != lib || !child.InRun(lib+4) {
				t.Errorf("a copy's relay: %+v, %v", fix, ok)
			}
			if err := errors.Join(child.Remove(child.Sites()), child.Restore()); err != nil || !bytes.Equal(codeIn(copied), relayed) {
				t.Errorf("a copy is not clean: %v: % x", err, codeIn(copied))
			}
		}
		dead, ok := Recover(amd64.ISA, mem, mem, mappings)
		if !ok || dead.At(lib) == nil || dead.At(lib).Jumps() != armed {
			t.Fatalf("recovered: %v, %+v", ok, dead.At(lib))
		}
		if !dead.InRun(lib + 4) {
			t.Error("its relay is not known")
		}
		if err := errors.Join(dead.Remove(dead.Sites()), dead.Restore()); err != nil || !bytes.Equal(codeIn(mem), relayed) {
			t.Errorf("armed %v: not clean: %v: % x", armed, err, codeIn(mem))
		}
	}
	// A child of a parent in which an old relay is left has that, too.
	mem, table, sites := relaySpace(t)
	if _, err := short(t, table, sites[0], lib+4); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Disarm(sites, "why"); err != nil {
		t.Fatal(err)
	}
	child := table.Clone(mem, mem)
	if err := errors.Join(child.Remove(child.Sites()), child.Restore()); err != nil || !bytes.Equal(codeIn(mem), relayed) {
		t.Errorf("a copy with an old relay is not clean: %v: % x", err, codeIn(mem))
	}
}
