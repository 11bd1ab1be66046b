package breakpoint

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
)

// TestLost replaces pages under patches of both kinds: the patches in these pages are reported, and
// no others; traps are planted again where the code is unchanged.
func TestLost(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		before := bytes.Clone(mem.parts[text])
		var wants []Want
		for _, off := range code[isa].at[:2] {
			wants = append(wants, Want{Addr: text + arch.Addr(off)})
		}
		wants = append(wants, Want{Addr: text + arch.Addr(len(code[isa].bytes)-isa.MinInst()), Quiet: true})
		sites, errs := table.Insert(wants)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		trap := sites[1:2]
		if isa.MinInst() == 1 { // a jump takes more than the first instruction
			trap, sites = nil, []*Site{sites[0], sites[2]}
			if err := table.Remove([]*Site{table.At(wants[1].Addr)}); err != nil {
				t.Fatal(err)
			}
		}
		up := &Upgrade{Site: sites[0], Code: handlerCode(isa, 1)}
		if err := errors.Join(table.Plan(up, 1), errors.Join(table.Arm(NewPause(0), []*Upgrade{up})...)); err != nil {
			t.Fatal(err)
		}
		if lost, covered := table.Lost(sites); len(lost)+len(covered) != 0 {
			t.Errorf("%d are lost", len(lost))
		}
		copy(mem.parts[text], isa.Trap()) // another tool's trap
		if lost, covered := table.Lost(sites); len(lost) != 0 || !slices.Equal(covered, sites[:1]) {
			t.Errorf("another's trap is over one: %d are lost, over %d is one", len(lost), len(covered))
		}
		copy(mem.parts[text], before)
		if lost, _ := table.Lost(sites); !slices.Equal(lost, append(sites[:1:1], trap...)) {
			t.Errorf("%d are lost, not those with patches", len(lost))
		}
		if again := table.Replant(sites); !slices.Equal(again, trap) {
			t.Errorf("%d are planted again, with a jump", len(again))
		}
		if _, err := table.Disarm(NewPause(0), sites[:1], ""); err != nil || sites[0].Jumps() {
			t.Error(err)
		}
		if again := table.Replant(sites[:1]); len(again) != 1 {
			t.Errorf("%d are planted again", len(again))
		}
		if lost, _ := table.Lost(sites); len(lost) != 0 {
			t.Errorf("%d are lost, planted again", len(lost))
		}
		copy(mem.parts[text], bytes.Repeat([]byte{0x11}, 16)) // other code
		if lost, _ := table.Lost(sites[:1]); len(lost) != 1 || len(table.Replant(lost)) != 0 {
			t.Errorf("%d are lost where other code is", len(lost))
		}
	})
}

// TestLostAtEnd has a site on the last page of a mapping.
func TestLostAtEnd(t *testing.T) {
	each(t, func(t *testing.T, isa arch.ISA) {
		mem := newSpace(isa)
		table := prepared(t, isa, mem)
		mem.parts[text][0xfff] = 0xc3 // ret; arm64's bytes there are an instruction anyway
		sites, errs := table.Insert([]Want{{Addr: text + 0x1000 - arch.Addr(isa.MinInst())}, {Addr: text}})
		if sites[0] == nil || sites[1] == nil {
			t.Fatal(errs)
		}
		if lost, _ := table.Lost(table.Sites()); len(lost) != 0 {
			t.Errorf("%d are lost", len(lost))
		}
		delete(mem.parts, text) // a site that is not mapped is not lost
		if lost, _ := table.Lost(table.Sites()); len(lost) != 0 {
			t.Errorf("%d are lost", len(lost))
		}
	})
}
