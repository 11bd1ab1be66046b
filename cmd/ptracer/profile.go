package main

import (
	"io"
	"time"

	"github.com/google/pprof/profile"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// profiler makes a profile of stacks: what `go tool pprof` opens.
type profiler struct {
	symbolize func(pid int, addr arch.Addr) (engine.Symbol, bool)
	out       profile.Profile
	functions map[string]*profile.Function
	mappings  map[mappingKey]*profile.Mapping
	locations map[locationKey]*profile.Location
}

type mappingKey struct {
	pid   uint32
	start arch.Addr
	path  string
}

type locationKey struct {
	pid  uint32
	addr arch.Addr
}

// writeProfile writes the stacks of all locations as one profile; the label
// "probe" tells them apart.
func writeProfile(h *job.Handling, w io.Writer) error {
	names := job.PlaceNames{}
	p := profiler{
		symbolize: h.Session.Symbolize, functions: map[string]*profile.Function{},
		mappings: map[mappingKey]*profile.Mapping{}, locations: map[locationKey]*profile.Location{},
		out: profile.Profile{
			SampleType: []*profile.ValueType{{Type: "calls", Unit: "count"}},
			PeriodType: &profile.ValueType{Type: "calls", Unit: "count"}, Period: 1, TimeNanos: time.Now().UnixNano(),
		},
	}
	if err := h.Counts(func(i int, s *builtin.StackCounts) error {
		for _, st := range s.Stacks {
			p.add(names.Of(h.Job, i, int(st.PID)), st)
		}
		return nil
	}); err != nil {
		return err
	}
	return p.out.Write(w)
}

func (p *profiler) add(probe string, st builtin.Stack) {
	s := &profile.Sample{
		Value: []int64{int64(st.Count)},
		Label: map[string][]string{"probe": {probe}}, NumLabel: map[string][]int64{"pid": {int64(st.PID)}},
	}
	for i := range st.Addrs {
		s.Location = append(s.Location, p.location(locationKey{st.PID, st.At(i)}))
	}
	p.out.Sample = append(p.out.Sample, s)
}

// location is one address.
func (p *profiler) location(k locationKey) *profile.Location {
	if l := p.locations[k]; l != nil {
		return l
	}
	l := &profile.Location{ID: uint64(len(p.out.Location) + 1), Address: uint64(k.addr)}
	if sym, ok := p.symbolize(int(k.pid), k.addr); ok {
		l.Mapping = p.mapping(k.pid, sym)
		if sym.Function != "" {
			l.Line = []profile.Line{{Function: p.function(sym)}}
		}
	}
	p.locations[k] = l
	p.out.Location = append(p.out.Location, l)
	return l
}

func (p *profiler) mapping(pid uint32, sym engine.Symbol) *profile.Mapping {
	k := mappingKey{pid, sym.Start, sym.Path}
	m := p.mappings[k]
	if m == nil {
		m = &profile.Mapping{
			ID: uint64(len(p.out.Mapping) + 1), Start: uint64(sym.Start), Limit: uint64(sym.End),
			Offset: sym.FileOffset, File: sym.Path, BuildID: sym.BuildID, HasFunctions: true,
		}
		p.mappings[k] = m
		p.out.Mapping = append(p.out.Mapping, m)
	}
	return m
}

// function has the linker's name: pprof makes it readable itself, in as much detail as it is asked for.
func (p *profiler) function(sym engine.Symbol) *profile.Function {
	f := p.functions[sym.Path+"\x00"+sym.Function]
	if f == nil {
		f = &profile.Function{ID: uint64(len(p.out.Function) + 1), Name: sym.Function, SystemName: sym.Function, Filename: sym.Path}
		p.functions[sym.Path+"\x00"+sym.Function] = f
		p.out.Function = append(p.out.Function, f)
	}
	return f
}
