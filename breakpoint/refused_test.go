package breakpoint

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
)

// seal makes the kernel refuse changes of the code, or stop refusing them.
func (s *space) seal(on bool) {
	if s.sealed, s.sealedEnd = 0, 0; on {
		s.sealed, s.sealedEnd = text, text+0x1000
	}
}

// TestPatchRefused has the kernel refuse patches of each kind: the table returns the error each
// time, and knows what is in memory.
func TestPatchRefused(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		before := bytes.Clone(mem.parts[text])
		quiet, loud := Want{Addr: text, Quiet: true}, Want{Addr: text}
		sites, errs := table.Insert([]Want{quiet})
		if errs[0] != nil {
			t.Fatal(errs)
		}
		mem.seal(true)
		up := &Upgrade{Site: sites[0], Code: handlerCode(isa, 1)}
		if err := table.Plan(up, 1); err != nil {
			t.Fatal(err)
		}
		if err := table.Arm(NewPause(0), []*Upgrade{up})[0]; !errors.Is(err, ErrRefused) || sites[0].Jumps() {
			t.Errorf("jump: %v", err)
		}
		for range 2 {
			if err := table.Speak(sites[0]); !errors.Is(err, ErrRefused) || !errors.Is(err, errBroken) {
				t.Errorf("speak: %v", err)
			}
			if again, errs := table.Insert([]Want{loud}); !errors.Is(errs[0], ErrRefused) || again[0] != nil {
				t.Errorf("insert again: %v, %v", again[0], errs[0])
			}
			next := Want{Addr: text + arch.Addr(code[isa].at[1])}
			if fresh, errs := table.Insert([]Want{next}); !errors.Is(errs[0], ErrRefused) || fresh[0] != nil || table.At(next.Addr) != nil {
				t.Errorf("insert: %v, %v", fresh[0], errs[0])
			}
		}
		if !bytes.Equal(mem.parts[text], before) {
			t.Error("the code is changed")
		}
		mem.seal(false)
		if err := table.Speak(sites[0]); err != nil || !isa.IsTrap(mem.find(text, len(isa.Trap()))) {
			t.Errorf("it may be changed, and there is no trap: %v", err)
		}
	})
}

// TestUndoRefused has the kernel refuse to remove patches: the sites stay, so that tasks which
// reach them continue, and are removed when the kernel permits it.
func TestUndoRefused(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		before := bytes.Clone(mem.parts[text])
		sites, errs := table.Insert([]Want{{Addr: text}})
		if errs[0] != nil {
			t.Fatal(errs)
		}
		for _, jumps := range []bool{false, true} {
			if jumps {
				up := &Upgrade{Site: sites[0], Code: handlerCode(isa, 1)}
				if err := errors.Join(table.Plan(up, 1), errors.Join(table.Arm(NewPause(0), []*Upgrade{up})...)); err != nil {
					t.Fatal(err)
				}
			}
			mem.seal(true)
			remove := table.Remove
			if jumps {
				remove = func(sites []*Site) error { return table.Clear(NewPause(0), sites) }
			}
			if err := remove(sites); !errors.Is(err, ErrRefused) || table.At(text) != sites[0] || sites[0].Jumps() != jumps {
				t.Errorf("jumps %v: %v", jumps, err)
			}
			if _, err := table.Disarm(NewPause(0), sites, ""); (err != nil) != jumps || sites[0].Jumps() != jumps {
				t.Errorf("jumps %v: disarm: %v", jumps, err)
			}
			if err := table.WriteOriginal(text, []byte{1, 2, 3, 4}); err == nil {
				t.Error("the code was written")
			}
			now := make([]byte, len(before))
			if err := table.ReadOriginal(text, now); err != nil || !bytes.Equal(now, before) {
				t.Errorf("jumps %v: the code reads %x, not %x: %v", jumps, now[:8], before[:8], err)
			}
			mem.seal(false)
		}
		if err := table.Clear(NewPause(0), sites); err != nil || !bytes.Equal(mem.parts[text], before) {
			t.Errorf("taken out: %v", err)
		}
	})
}

// TestSpeakBehindJump calls Speak for a quiet site that its jump lies wholly before. Without the
// jump the site is a trap.
func TestSpeakBehindJump(t *testing.T) {
	mem := withReturns()
	table := prepared(t, amd64.ISA, mem)
	before := bytes.Clone(mem.parts[text])
	const i = 1 // the return behind the jump
	site := block + 0x40*i + returns[i].at
	sites, errs := table.Insert([]Want{{Addr: site, Quiet: true}})
	up := &Upgrade{Site: sites[0], From: block + 0x40*i, Code: handlerCode(amd64.ISA, 3)}
	if err := errors.Join(errs[0], table.Plan(up, 1), errors.Join(table.Arm(NewPause(0), []*Upgrade{up})...), table.Speak(sites[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Disarm(NewPause(0), sites, ""); err != nil {
		t.Fatal(err)
	}
	if !amd64.ISA.IsTrap(mem.find(site, 1)) {
		t.Error("no trap")
	}
	if err := table.Remove(sites); err != nil || !bytes.Equal(mem.parts[text], before) {
		t.Errorf("taken out: %v", err)
	}
}
