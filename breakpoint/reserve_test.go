package breakpoint

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
)

type start struct {
	name string
	code []byte
	at   []int // offsets of the instructions behind the first, in a jump
}

// starts are typical first instructions of functions.
var starts = []start{
	{"frame", []byte{0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10}, []int{1, 4}},
	{"pushes", []byte{0x41, 0x57, 0x41, 0x56, 0x41, 0x55}, []int{2, 4}},
	{"endbr64", []byte{0xf3, 0x0f, 0x1e, 0xfa, 0x53, 0x48, 0x89, 0xfb}, []int{4}},
	{"long", []byte{0x48, 0x8d, 0x3d, 0x11, 0x22, 0x33, 0x00}, nil},
	{"stack check", []byte{0x49, 0x3b, 0x66, 0x10, 0x76, 0x10}, []int{4}},
}

// startsSpace has sites at copies of some code.
func startsSpace(t *testing.T, code func() []byte, at ...int) (*space, *Table, []*Site) {
	t.Helper()
	mem := &space{parts: map[arch.Addr][]byte{lib: bytes.Repeat([]byte{0x90}, 0x4000)}}
	table := New(amd64.ISA, mem, mem)
	if err := table.Prepare(lib, 10); err != nil {
		t.Fatal(err)
	}
	var wants []Want
	for _, a := range at {
		copy(mem.parts[lib][a:], code())
		wants = append(wants, Want{Addr: lib + arch.Addr(a), Quiet: true})
	}
	sites, errs := table.Insert(wants)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return mem, table, sites
}

func (c start) bytes() []byte { return c.code }

// oneByte makes a site a pun of one byte.
func oneByte(t *testing.T, table *Table, s *Site) *Upgrade {
	t.Helper()
	up := &Upgrade{Site: s, Pun: true, OneByte: true, Code: handlerCode(amd64.ISA, 3)}
	if err := table.Plan(up, 1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(table.Arm(NewPause(0), []*Upgrade{up})...); err != nil {
		t.Fatal(err)
	}
	return up
}

// TestOneByte changes one byte of a function's start; a uprobe or a debugger's trap there leads to
// the same trampoline, or to the program's own code.
func TestOneByte(t *testing.T) {
	for _, c := range starts {
		t.Run(c.name, func(t *testing.T) {
			mem, table, sites := startsSpace(t, c.bytes, 0)
			s, text := sites[0], mem.parts[lib]
			before := bytes.Clone(text)
			if err := table.Reserve(sites); err != nil {
				t.Fatal(err)
			}
			up := oneByte(t, table, s)
			if text[0] != 0xe9 || !bytes.Equal(text[1:], before[1:]) || s.Rung != Pun || s.JumpEnd() != s.End() {
				t.Fatalf("%v: % x", s.Rung, text[:8])
			}
			hit, _ := up.Hit(s.Addr)
			for _, at := range append([]int{0}, c.at...) {
				was := text[at]
				if at > 0 {
					text[at] = 0xcc
				}
				veneer, trampoline := leadsTo(t, mem, s)
				if fix, of, ok := table.Locate(veneer); trampoline != hit || !ok || of != s || fix.PC != s.Addr {
					t.Errorf("with a trap at %d it leads to %v, not %v; there: %+v, %v", at, trampoline, hit, fix, ok)
				}
				text[at] = was
			}
			text[0] = 0xcc
			if lost, covered := table.Lost(sites); len(lost) != 0 || len(covered) != 1 {
				t.Errorf("under a uprobe: %d lost, %d covered", len(lost), len(covered))
			}
			text[0] = before[0] // the uprobe is removed
			if lost, _ := table.Lost(sites); len(lost) != 1 || !bytes.Equal(text, before) {
				t.Errorf("behind a uprobe: %d lost", len(lost))
			}
			if _, err := table.Disarm(NewPause(0), sites, "lost"); err != nil || !bytes.Equal(text, before) {
				t.Errorf("disarmed: %v, % x", err, text[:8])
			}
			oneByte(t, table, s)
			leadsTo(t, mem, s)
			if err := table.Clear(NewPause(0), sites); err != nil || !bytes.Equal(text, before) {
				t.Errorf("cleared: %v, % x", err, text[:8])
			}
			if table.Sweep(NewPause(0)); len(table.veneers) != 0 {
				t.Errorf("%d veneers are left", len(table.veneers))
			}
		})
	}
}

// TestReserveShares has functions that begin alike share their mappings.
func TestReserveShares(t *testing.T) {
	_, table, sites := startsSpace(t, starts[0].bytes, 0x100, 0x140, 0x900, 0xff8, 0x1230, 0x3ff0)
	if err := table.Reserve(sites); err != nil {
		t.Fatal(err)
	}
	if n := len(table.libs); n < 2 || n > 6 { // the last one is two pages away; with the strays three of them
		t.Errorf("%d mappings", len(table.libs))
	}
	for _, s := range sites {
		if s.Addr%pageSize <= pageSize-5 {
			oneByte(t, table, s)
		}
	}
	n := len(table.libs)
	if err := table.Reserve(sites); err != nil || len(table.libs) != n {
		t.Errorf("asked for again: %d mappings, %v", len(table.libs), err)
	}
}

// TestReserveTaken has a mapping in the middle of the range that functions share: the functions
// that lead there can't be puns of one byte, the others are.
func TestReserveTaken(t *testing.T) {
	mem, table, sites := startsSpace(t, starts[0].bytes, 0x800, 0x1800, 0x2800, 0x3800)
	jump := sites[1].Code()[:5]
	middle, _, _ := amd64.ISA.Puns(jump, sites[1].Addr, 1)
	mem.parts[middle&^0xfff] = make([]byte, pageSize)
	if err := table.Reserve(sites); err != nil {
		t.Fatal(err)
	}
	for i, s := range sites {
		up := &Upgrade{Site: s, Pun: true, OneByte: true, Code: handlerCode(amd64.ISA, 3)}
		if err := table.Plan(up, 1); (err != nil) != (i == 1) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestReserveBounded asks for more than the limit: the first sites get it.
func TestReserveBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var at []int
	for a := 0; a < 0x3f00; a += 16 {
		at = append(at, a)
	}
	_, table, sites := startsSpace(t, func() []byte {
		return []byte{0x53, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}
	}, at...)
	if err := table.Reserve(sites); err != nil {
		t.Fatal(err)
	}
	if n := len(table.libs); n > maxReserved || n < maxReserved/2 {
		t.Errorf("%d mappings", n)
	}
}

// TestReserveGone loses the space, or writes fail, meanwhile.
func TestReserveGone(t *testing.T) {
	mem, table, sites := startsSpace(t, starts[0].bytes, 0)
	mem.broken = 1
	if err := table.Reserve(sites); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}
