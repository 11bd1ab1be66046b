package engine

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/internal/plant"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
)

// TestCopies probes all functions of a program that has mapped some of its code once more,
// between pages of data, and has a function's symbol in its data: calls of the copy count, where a copy is
// not there is nothing planted, and no data is changed.
func TestCopies(t *testing.T) {
	want, _ := alone(t, "copies", "100")
	for name, spec := range map[string]ProbeSpec{
		"count": {}, "trap": {Rung: breakpoint.Slot}, "step": {Rung: breakpoint.Step},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, "copies", "100")
			s := attach(t, p.pid)
			spec.Location = "copies:work"
			work := register(t, s, spec)
			all := register(t, s, ProbeSpec{Location: "copies:*", Rung: spec.Rung})
			if n := len(s.Placements(work)); n != 2 {
				t.Errorf("work is at %d places, want 2: %v", n, s.Placements(work))
			}
			for _, pl := range s.Placements(all) {
				if pl.Err != nil {
					t.Errorf("%s at %s: %v", pl.Name, pl.Addr, pl.Err)
				}
			}
			p.goOn()
			out, status := p.end()
			if out != want || status != 0 || said(t, out, "changed") != 0 {
				t.Errorf("it printed %q, status %d; alone %q", out, status, want)
			}
			if n := s.Hits(work); n != 200 {
				t.Errorf("%d hits of 200 calls", n)
			}
		})
	}
	for _, where := range []handler.Where{handler.Tracee, handler.Engine, handler.Kernel} {
		t.Run(where.String(), func(t *testing.T) {
			if where == handler.Kernel && kernel.Available() != nil {
				skip.Missing(t, "eBPF")
			}
			p := launch(t, "copies", "100")
			s := attach(t, p.pid)
			h, err := s.OpenHandler(HandlerSpec{Name: "count", Where: where})
			if err != nil {
				t.Fatal(err)
			}
			id := register(t, s, ProbeSpec{Location: "copies:work", Handler: h})
			p.goOn()
			if out, _ := p.end(); out != want {
				t.Errorf("it printed %q, alone %q", out, want)
			}
			<-s.Done()
			var b strings.Builder
			r, err := h.Result()
			if err == nil {
				err = r.Text(&b, 80)
			}
			if err != nil || !strings.Contains(b.String(), "200") || where != handler.Kernel && s.Hits(id) != 200 {
				t.Errorf("200 calls, %d hits, %v: %s", s.Hits(id), err, b.String())
			}
		})
	}
}

// TestNotCode probes an address of data: that is refused, and the data is as it was.
func TestNotCode(t *testing.T) {
	p := launch(t, "copies", "10")
	f, err := elf.Open(fixture.Path(t, "copies"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	maps, err := procfs.Maps(p.pid)
	if err != nil {
		t.Fatal(err)
	}
	syms, _ := f.Symbols()
	at := arch.Addr(0)
	for _, sym := range syms {
		if sym.Name == "datafn" {
			at = arch.Addr(sym.Value)
		}
	}
	if f.Type == elf.ET_DYN {
		at += maps[0].Start
	}
	s := attach(t, p.pid)
	id, err := s.Register(ProbeSpec{Location: fmt.Sprintf("*%#x", uint64(at))})
	if err == nil {
		err = s.Placements(id)[0].Err
	}
	if !errors.Is(err, breakpoint.ErrNotCode) {
		t.Errorf("a probe in data at %s: %v", at, err)
	}
	p.goOn()
	if out, _ := p.end(); said(t, out, "changed") != 0 {
		t.Error(out)
	}
}

// TestLateCopy has the program map the copy when its probe is there: the calls that are not
// counted are told of, at that place only.
func TestLateCopy(t *testing.T) {
	s, err := Start(context.Background(), Command{Path: fixture.Path(t, "copies"), Args: []string{"100"}})
	if err != nil {
		t.Fatal(err)
	}
	defer detach(t, s)
	pid := s.Processes()[0]
	work := register(t, s, ProbeSpec{Location: "copies:work", Pending: true})
	other := register(t, s, ProbeSpec{Location: "copies:main", Pending: true})
	if err := s.Resume(pid); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if pl := s.Placements(work); len(pl) != 1 || pl[0].Hits != 100 || pl[0].Gap != plant.GapCopy {
		t.Errorf("%+v", pl)
	}
	if pl := s.Placements(other); len(pl) != 1 || pl[0].Hits != 1 || pl[0].Gap != "" {
		t.Errorf("%+v", pl)
	}
}
