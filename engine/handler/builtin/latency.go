package builtin

import (
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Latency makes a histogram of the time from a function's entry to its exit, in nanoseconds,
// including nested calls. It has two programs that share their maps: "calls" (see frames), "hist"
// as in Hist, "misses". Cost: at each end a lookup in a hash and the clock, at the exit a
// histogram.
func Latency(ctx program.Context, s Scale, c Calls) (*build.Handler, error) {
	return pair("latency", ctx, func(b *build.Builder, at build.Point) {
		f, h, miss := newFrames(b, c, 0), newHist(b, s, false), newMisses(b)
		if at == build.Entry {
			f.push(b, nil, miss)
			return
		}
		since := b.Var()
		f.pop(b, since, nil, miss)
		h.add(b, since)
	}, func(src build.Source) (build.Result, error) {
		r, err := ReadHist(src, "latency", nanoseconds, s, false)
		if err == nil {
			r.Misses, r.Unpaired = readMisses(src), readUnpaired(src)
		}
		return r, err
	})
}

// pair makes a handler of two programs. make builds both, and adds the same maps in the same order.
func pair(name string, ctx program.Context, make func(*build.Builder, build.Point), read func(build.Source) (build.Result, error)) (*build.Handler, error) {
	entry, exit := build.New(name, ctx), build.New(name, ctx)
	make(entry, build.Entry)
	make(exit, build.Exit)
	h := &build.Handler{Name: name, Context: ctx, Read: read}
	var err error
	if h.Entry, err = entry.Program(); err != nil {
		return nil, err
	}
	if h.Exit, err = exit.Program(); err != nil {
		return nil, err
	}
	// One of them may have needed another map.
	if len(h.Entry.Maps) < len(h.Exit.Maps) {
		h.Entry.Maps = h.Exit.Maps
	} else {
		h.Exit.Maps = h.Entry.Maps
	}
	return h, nil
}
