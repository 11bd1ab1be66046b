package breakpoint

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/arm64"
)

// TestJumpPad has a jump behind a landing pad, which stays: a task between them is half way into
// the jump. A later tracer finds the jump.
func TestJumpPad(t *testing.T) {
	code := []byte{
		0x3f, 0x23, 0x03, 0xd5, // paciasp
		0xfd, 0x7b, 0xbf, 0xa9, // stp x29, x30, [sp, #-16]!
		0x1f, 0x20, 0x03, 0xd5, // nop
	}
	mem := newSpace(arm64.ISA)
	copy(mem.parts[text], code)
	table := prepared(t, arm64.ISA, mem)
	sites, errs := table.Insert([]Want{{Addr: text}, {Addr: text + 8}})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	var ups []*Upgrade
	for i, s := range sites {
		up := &Upgrade{Site: s, Code: handlerCode(arm64.ISA, 3)}
		if err := table.Plan(up, len(sites)-i); err != nil {
			t.Fatal(err)
		}
		ups = append(ups, up)
	}
	if at, ok := ups[0].Continue(text + 4); !ok || ups[0].Displaces()[0] != text+4 {
		t.Errorf("a task that is between: %v, %v, %v", at, ok, ups[0].Displaces())
	}
	if table.InTrampoline(text + 4) {
		t.Error("half the way into a jump that is not there")
	}
	if err := errors.Join(table.Arm(NewPause(0), ups)...); err != nil {
		t.Fatal(err)
	}
	if now := mem.find(text, 4); !bytes.Equal(now, code[:4]) {
		t.Errorf("the landing pad is % x", now)
	}
	found, _ := Recover(arm64.ISA, mem, mem, slices.Sorted(maps.Keys(mem.parts)))
	for _, tb := range []*Table{table, found} {
		for at, want := range map[arch.Addr]bool{text: false, text + 4: true, text + 8: false, text + 12: false} {
			if tb.InTrampoline(at) != want {
				t.Errorf("at %v: in a jump: %v", at, !want)
			}
		}
		if over := tb.JumpsOver(text+4, 4); len(over) != 1 || !over[0].Jumps() || over[0].Addr != text {
			t.Errorf("over the second instruction: %+v", over)
		}
		seen := make([]byte, len(code))
		if err := tb.ReadOriginal(text, seen); err != nil || !bytes.Equal(seen, code) {
			t.Errorf("seen: % x, %v", seen, err)
		}
	}
	if err := found.Clear(NewPause(0), found.Sites()); err != nil || !bytes.Equal(mem.parts[text][:12], code) {
		t.Errorf("% x is left, %v", mem.parts[text][:12], err)
	}
}
