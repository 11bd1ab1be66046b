package breakpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/arch/arm64"
)

// space is an address space of a few byte slices. It counts writes, and can fail from one on, as if
// the tracer were killed there.
type space struct {
	parts  map[arch.Addr][]byte
	writes int
	broken int // writes from this on fail; 0: none
	// sealed makes the kernel refuse writes from here to its end, as for shared memory.
	sealed, sealedEnd arch.Addr
}

var errBroken = errors.New("broken")

func (s *space) find(addr arch.Addr, n int) []byte {
	for at, p := range s.parts {
		if addr >= at && uint64(addr-at)+uint64(n) <= uint64(len(p)) {
			return p[addr-at:][:n]
		}
	}
	return nil
}

func (s *space) Read(addr arch.Addr, buf []byte) error {
	p := s.find(addr, len(buf))
	if p == nil {
		return fmt.Errorf("read %v", addr)
	}
	copy(buf, p)
	return nil
}

func (s *space) Write(addr arch.Addr, data []byte) error {
	if s.writes++; s.broken > 0 && s.writes >= s.broken {
		return errBroken
	}
	if addr < s.sealedEnd && addr+arch.Addr(len(data)) > s.sealed {
		return errBroken
	}
	p := s.find(addr, len(data))
	if p == nil {
		return fmt.Errorf("write %v", addr)
	}
	copy(p, data)
	return nil
}

// Map puts new memory a little away from near.
func (s *space) Map(near arch.Addr, size int) (arch.Addr, error) {
	at := near&^0xfff + 0x10000
	for s.taken(at, size) {
		at += 0x1000
	}
	s.parts[at] = make([]byte, size)
	return at, nil
}

// MapAt puts new memory at an address, unless something is there.
func (s *space) MapAt(at arch.Addr, size int) error {
	if at%pageSize != 0 || size%pageSize != 0 || s.taken(at, size) {
		return ErrTaken
	}
	s.parts[at] = make([]byte, size)
	return nil
}

func (s *space) Batch(f func() error) error { return f() }

func (s *space) taken(at arch.Addr, size int) bool {
	for a, p := range s.parts {
		if at < a+arch.Addr(len(p)) && a < at+arch.Addr(size) {
			return true
		}
	}
	return false
}

const text arch.Addr = 0x400000

// code has instructions for each kind of rung, for each machine; step is the size of one.
var code = map[arch.ISA]struct {
	bytes []byte
	at    []int
}{
	amd64.ISA: {[]byte{
		0x55,             // push %rbp
		0x48, 0x89, 0xe5, // mov %rsp, %rbp
		0xeb, 0x02, // jmp +2
		0x90, 0x90, // nop; nop
		0xe8, 0x00, 0x00, 0x00, 0x00, // call
		0x48, 0x8b, 0x05, 0x10, 0x00, 0x00, 0x00, // mov 16(%rip), %rax
		0xc9, 0xc3, // leave; ret
		0xcc, // int3
		0x0f, 0x05, 0xc3,
	}, []int{0, 1, 4, 6, 7, 8, 13, 20, 21, 22, 23, 25}},
	arm64.ISA: {[]byte{
		0xfd, 0x7b, 0xbf, 0xa9, // stp x29, x30, [sp, #-16]!
		0x02, 0x00, 0x00, 0x14, // b +8
		0x1f, 0x20, 0x03, 0xd5, // nop
		0x40, 0x00, 0x00, 0x58, // ldr x0, +8
		0x01, 0x00, 0x00, 0x94, // bl
		0xa0, 0xee, 0x20, 0xd4, // brk
		0x01, 0x00, 0x00, 0xd4, // svc
		0xc0, 0x03, 0x5f, 0xd6, // ret
	}, []int{0, 4, 8, 12, 16, 20, 24, 28}},
}

func newSpace(isa arch.ISA) *space {
	p := make([]byte, 0x1000)
	copy(p, code[isa].bytes)
	return &space{parts: map[arch.Addr][]byte{text: p}}
}

func prepared(t testing.TB, isa arch.ISA, mem *space) *Table {
	t.Helper()
	table := New(isa, mem, mem)
	if err := table.Prepare(text, 10); err != nil {
		t.Fatal(err)
	}
	return table
}

func all(isa arch.ISA, rung Rung) (wants []Want) {
	for _, off := range code[isa].at {
		wants = append(wants, Want{Addr: text + arch.Addr(off), Rung: rung})
	}
	return wants
}

var each64 = []arch.ISA{amd64.ISA, arm64.ISA}

func each(t *testing.T, f func(t *testing.T, isa arch.ISA)) {
	for _, isa := range each64 {
		t.Run(isa.Name(), func(t *testing.T) { f(t, isa) })
	}
}

// TestInsertRemove arms all sites, hides them, and restores all.
func TestInsertRemove(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		for _, rung := range []Rung{Auto, Slot, Step} {
			mem := newSpace(isa)
			table := prepared(t, isa, mem)
			before := bytes.Clone(mem.parts[text])
			sites, errs := table.Insert(all(isa, rung))
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			for _, s := range sites {
				now := mem.find(s.Addr, len(isa.Trap()))
				if s.Inst.Kind != arch.KindTrap && !bytes.Equal(now, isa.Trap()) || !s.Armed() {
					t.Errorf("%v: % x in memory", s.Addr, now)
				}
				if table.At(s.Addr) != s {
					t.Errorf("%v is not found", s.Addr)
				}
			}
			seen := make([]byte, len(before))
			if err := table.ReadOriginal(text, seen); err != nil || !bytes.Equal(seen, before) {
				t.Errorf("rung %v: patches are seen: %v", rung, err)
			}
			if again, _ := table.Insert(all(isa, rung)); again[0] != sites[0] || table.Len() != len(sites) {
				t.Error("a second probe has another site")
			}
			if err := table.Remove(sites); err != nil || !bytes.Equal(mem.parts[text], before) || table.Len() != 0 {
				t.Errorf("rung %v: not restored: %v", rung, err)
			}
			if !table.Was(text) || table.Retired() == 0 {
				t.Error("a trap on its way would not be known")
			}
			table.Sweep(NewPause(0))
			if table.Was(text) || table.Retired() != 0 {
				t.Error("not swept")
			}
		}
	})
}

// TestReadPieces reads every piece of patched code.
func TestReadPieces(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		before := bytes.Clone(mem.parts[text])
		table := prepared(t, isa, mem)
		table.Insert(all(isa, Auto))
		for from := range 40 {
			for n := range 20 {
				buf := make([]byte, n)
				if err := table.ReadOriginal(text+arch.Addr(from), buf); err != nil || !bytes.Equal(buf, before[from:from+n]) {
					t.Fatalf("%d bytes at %d: % x, %v", n, from, buf, err)
				}
			}
		}
	})
}

// TestWrite writes every piece of patched code: reads return the written bytes, probes stay, and
// after their removal memory has what was written.
func TestWrite(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		for range 300 {
			mem := newSpace(isa)
			model := bytes.Clone(mem.parts[text])
			table := prepared(t, isa, mem)
			table.Insert(all(isa, Auto))
			unit := isa.MinInst()
			for range 3 {
				from, n := rand.IntN(30)/unit*unit, (1+rand.IntN(12)+unit-1)/unit*unit
				data := bytes.Repeat(map[int][]byte{1: {0x90}, 4: {0x1f, 0x20, 0x03, 0xd5}}[unit], n/unit)
				copy(model[from:], data)
				if err := table.WriteOriginal(text+arch.Addr(from), data); err != nil && !errors.Is(err, errors.ErrUnsupported) && !decodes(err) {
					t.Fatal(err)
				}
				seen := make([]byte, len(model))
				if err := table.ReadOriginal(text, seen); err != nil || !bytes.Equal(seen, model) {
					t.Fatalf("%d at %d: read\n% x, want\n% x", n, from, seen[:40], model[:40])
				}
			}
			if err := table.Remove(table.Sites()); err != nil || !bytes.Equal(mem.parts[text], model) {
				t.Fatalf("after removal\n% x, want\n% x", mem.parts[text][:40], model[:40])
			}
		}
	})
}

// decodes reports whether an error means that a site's new bytes are no instruction.
func decodes(err error) bool {
	var s *SiteError
	return errors.As(err, &s)
}

// TestOrder dies at every write: at no moment is there a trap without an index entry, and a later
// tracer cleans up everything.
func TestOrder(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		first := mem.writes
		table.Insert(all(isa, Auto))
		table.Remove(table.Sites())
		last := mem.writes
		for at := first + 1; at <= last+1; at++ {
			mem := newSpace(isa)
			before := bytes.Clone(mem.parts[text])
			table := prepared(t, isa, mem)
			mem.broken = at
			sites, _ := table.Insert(all(isa, Auto))
			_ = sites
			table.Remove(table.Sites())
			mem.broken = 0
			var areas []arch.Addr
			for a := range mem.parts {
				areas = append(areas, a)
			}
			found, ok := Recover(isa, mem, mem, areas)
			if !ok {
				t.Fatalf("killed at write %d: nothing found", at)
			}
			for _, off := range code[isa].at {
				a := text + arch.Addr(off)
				now := mem.find(a, len(isa.Trap()))
				if bytes.Equal(now, isa.Trap()) && !bytes.Equal(before[off:off+len(now)], now) && found.At(a) == nil {
					t.Errorf("killed at write %d: the trap at %v is not known", at, a)
				}
			}
			if err := found.Remove(found.Sites()); err != nil || !bytes.Equal(mem.parts[text], before) {
				t.Errorf("killed at write %d: not restored, %v", at, err)
			}
		}
	})
}

// TestForeign compares memory with the file.
func TestForeign(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		orig := bytes.Clone(code[isa].bytes[:isa.MaxInst()])
		copy(mem.parts[text], isa.Trap()) // another tool's trap
		table := prepared(t, isa, mem)
		now := bytes.Clone(mem.parts[text])
		_, errs := table.Insert([]Want{{Addr: text, Orig: orig}})
		if !errors.Is(errs[0], ErrForeign) || !bytes.Equal(mem.parts[text], now) || table.Len() != 0 {
			t.Errorf("%v, % x", errs[0], mem.parts[text][:8])
		}
		var se *SiteError
		if !errors.As(errs[0], &se) || se.Addr != text {
			t.Errorf("%v does not say where", errs[0])
		}
	})
}

// TestKept leaves alone what another tool has put in place of the trap.
func TestKept(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		sites, _ := table.Insert(all(isa, Auto)[:1])
		other := bytes.Repeat([]byte{0x77}, len(isa.Trap()))
		copy(mem.parts[text], other)
		if err := table.Remove(sites); err != nil || !bytes.HasPrefix(mem.parts[text], other) {
			t.Errorf("%v, % x", err, mem.parts[text][:4])
		}
	})
}

// TestRefused asks for what can't be a site.
func TestRefused(t *testing.T) {
	mem := newSpace(arm64.ISA)
	table := prepared(t, arm64.ISA, mem)
	for addr, want := range map[arch.Addr]error{text + 2: ErrMisaligned, 0x10: ErrMisaligned, 0x100: ErrNotMapped, 1<<64 - 4: ErrNotMapped} {
		if addr == 0x10 {
			want = ErrNotMapped
		}
		if _, errs := table.Insert([]Want{{Addr: addr}}); !errors.Is(errs[0], want) {
			t.Errorf("%v: %v, want %v", addr, errs[0], want)
		}
	}
	if _, errs := table.Insert([]Want{{Addr: text, Rung: Emulate}}); !errors.Is(errs[0], errors.ErrUnsupported) {
		t.Errorf("emulated stp: %v", errs[0])
	}
	if table.Len() != 0 {
		t.Errorf("%d sites", table.Len())
	}
}

// TestLocate finds the program's address for every boundary of every slot.
func TestLocate(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		sites, _ := table.Insert(all(isa, Slot))
		for _, s := range sites {
			if s.Rung != Slot {
				continue
			}
			fix, at, ok := table.Locate(s.Resume)
			if !ok || at != s || !fix.Before || fix.PC != s.Addr {
				t.Errorf("%v: %+v, %v", s.Addr, fix, ok)
			}
			if !table.InArea(s.Resume) {
				t.Errorf("%v is in no area", s.Resume)
			}
		}
		if _, _, ok := table.Locate(text); ok || table.InArea(text) {
			t.Error("the program's text is taken for ours")
		}
	})
}

// TestMany has more sites than an area has cells, and uses cells again.
func TestMany(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		nop := map[int][]byte{1: {0x50}, 4: {0xfd, 0x7b, 0xbf, 0xa9}}[isa.MinInst()]
		mem := newSpace(isa)
		mem.parts[text] = bytes.Repeat(nop, 3000)
		before := bytes.Clone(mem.parts[text])
		table := prepared(t, isa, mem)
		var wants []Want
		for i := range 2500 {
			wants = append(wants, Want{Addr: text + arch.Addr(i*len(nop))})
		}
		areas := 0
		for range 5 {
			sites, errs := table.Insert(wants)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			cells := map[arch.Addr]bool{}
			for _, s := range sites {
				cells[s.Slot()] = true
			}
			if len(cells) != len(sites) {
				t.Fatalf("%d cells for %d sites", len(cells), len(sites))
			}
			if addrs, _ := table.Areas(); areas != 0 && len(addrs) != areas {
				t.Errorf("%d areas, before %d: cells are not used again", len(addrs), areas)
			} else {
				areas = len(addrs)
			}
			if err := table.Remove(sites); err != nil || !bytes.Equal(mem.parts[text], before) {
				t.Fatal("not restored", err)
			}
			table.Sweep(NewPause(0))
		}
	})
}

// TestClone forks: changes in one space do not show in the other.
func TestClone(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		before := bytes.Clone(mem.parts[text])
		table := prepared(t, isa, mem)
		table.Insert(all(isa, Auto))
		copied := &space{parts: map[arch.Addr][]byte{}}
		for a, p := range mem.parts {
			copied.parts[a] = bytes.Clone(p)
		}
		child := table.Clone(copied, copied)
		if child.Len() != table.Len() {
			t.Fatalf("%d sites of %d", child.Len(), table.Len())
		}
		if err := child.Remove(child.Sites()); err != nil || !bytes.Equal(copied.parts[text], before) {
			t.Errorf("the child is not clean: %v", err)
		}
		if table.Len() == 0 || bytes.Equal(mem.parts[text], before) {
			t.Error("the parent has lost its sites")
		}
		if err := table.Remove(table.Sites()); err != nil || !bytes.Equal(mem.parts[text], before) {
			t.Errorf("the parent is not clean: %v", err)
		}
	})
}

// TestUnmapped forgets the sites of an unmapped library.
func TestUnmapped(t *testing.T) {
	mem := newSpace(amd64.ISA)
	table := prepared(t, amd64.ISA, mem)
	table.Insert(all(amd64.ISA, Auto))
	n := table.Len()
	delete(mem.parts, text)
	if gone := table.Unmapped(text+4, text+0x1000); len(gone) != n-2 || table.Len() != 2 {
		t.Errorf("%d gone, %d left", len(gone), table.Len())
	}
	if err := table.Remove(table.Sites()); err != nil {
		t.Error(err)
	}
}

// TestRungNames reads what it prints.
func TestRungNames(t *testing.T) {
	for r := Auto; r <= Hardware; r++ {
		if got, err := ParseRung(r.String()); err != nil || got != r {
			t.Errorf("%v: %v, %v", r, got, err)
		}
	}
	for name, want := range map[string]Rung{"trap": Slot, "step": Step, "emulate": Emulate, "slot": Slot} {
		if got, err := ParseRung(name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "trap+", "JUMP", "rung(9)"} {
		if got, err := ParseRung(name); err == nil {
			t.Errorf("%q is %v", name, got)
		}
	}
	if Rung(99).String() == "" {
		t.Error("a rung without a name")
	}
}

// FuzzRecover looks for areas in memory that a program has overwritten at random: whatever it
// finds, it does not panic, does not allocate memory without bounds, and can remove it.
func FuzzRecover(f *testing.F) {
	f.Add(uint16(headCount), uint64(5), []byte{})
	f.Add(uint16(headIndex), uint64(1<<40), []byte{1})
	f.Add(uint16(headGuard), uint64(0), []byte{0xff, 0xff})
	f.Add(uint16(headCells), ^uint64(0), []byte("ptracer"))
	f.Add(uint16(headBytes), uint64(1<<30), []byte{})
	f.Fuzz(func(t *testing.T, at uint16, word uint64, more []byte) {
		for _, isa := range []arch.ISA{amd64.ISA, arm64.ISA} {
			mem := newSpace(isa)
			table := prepared(t, isa, mem)
			table.Insert(all(isa, Auto))
			addrs, _ := table.Areas()
			area := mem.parts[addrs[0]]
			if int(at)+8 <= len(area) {
				binary.LittleEndian.PutUint64(area[at:], word)
				copy(area[at+8:], more)
			}
			table, ok := Recover(isa, mem, mem, []arch.Addr{text, addrs[0], 0, ^arch.Addr(0)})
			if !ok {
				continue
			}
			table.Locate(addrs[0] + arch.Addr(at))
			_ = table.Remove(table.Sites())
			table.Sweep(NewPause(0))
			if table.Len() != 0 {
				t.Errorf("%d sites are left", table.Len())
			}
		}
	})
}

// everywhere is memory that has the same bytes wherever it is read: an area's header.
type everywhere struct{ at0 *area }

func (m everywhere) Read(addr arch.Addr, buf []byte) error {
	clear(buf)
	if len(buf) == headSize {
		a := *m.at0
		a.addr, a.cells, a.index = addr, a.cells+addr, a.index+addr
		copy(buf, a.header(0))
	}
	return nil
}

func (everywhere) Write(arch.Addr, []byte) error { return nil }

// TestRecoverMany finds memory that looks like the areas of any number of sites: the table limits
// what it takes.
func TestRecoverMany(t *testing.T) {
	var at []arch.Addr
	for i := range arch.Addr(1000) {
		at = append(at, i<<30)
	}
	table, _ := Recover(amd64.ISA, everywhere{layout(0, 0, maxRecovered/4)}, nil, at)
	if n := len(table.areas); n == 0 || n > 4 {
		t.Errorf("%d areas of %d cells", n, maxRecovered/4)
	}
}
