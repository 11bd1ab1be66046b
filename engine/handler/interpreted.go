package handler

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/clock"
	"github.com/ptracer/ptracer/engine/handler/interp"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/procfs"
)

// Records are the records that a handler writes into its ring. One goroutine reads them.
type Records interface {
	// Read returns the next record. It waits for one until the deadline, and then returns
	// os.ErrDeadlineExceeded. The record is valid until the next Read.
	Read(deadline time.Time) ([]byte, error)
	// Lost is how many records were dropped for lack of space, as far as that is known.
	Lost() uint64
}

// Taker is implemented by Records that can release space on behalf of a reader in another process:
// see ring.Reader.Take.
type Taker interface {
	Take(pos uint64) uint64
}

// recorder is implemented by Maps that may have a ring; its Records is nil if they have none.
type recorder interface {
	Records() (Records, error)
}

// Records returns the records of the instance's first ring, nil if it has none.
func (in *Instance) Records() (Records, error) {
	if r, ok := in.Maps.(recorder); ok {
		return r.Records()
	}
	return nil, nil
}

// InEngine is the engine's executor: it interprets programs while the thread is stopped. Its Open
// returns *Interpreted.
type InEngine struct {
	// File makes the file for a handler's maps; nil: a file in memory.
	File  func() (*os.File, error)
	slots bool // compiled code writes the maps, too
}

// Interpreted is a handler's programs and maps, prepared for the interpreter.
type Interpreted struct {
	*maps.Set
	codes    [2]*interp.Code // by build.Point
	records  *ring.Reader
	borrowed bool      // another instance owns the maps
	tracee   *InTracee // the programs run in the traced program, too
}

// Open makes a handler's maps and prepares its programs.
func (e InEngine) Open(h *Verified) (Maps, error) {
	set, err := maps.New(h.Handler.Maps(), maps.Options{CPUs: possibleCPUs(), Slots: e.slots, File: e.File})
	if err != nil {
		return nil, err
	}
	x, err := interpreted(h, set)
	if err != nil {
		set.Close()
		return nil, err
	}
	for i := range set.Len() {
		if r := set.Map(i).Ring(); r != nil {
			x.records = ring.NewReader(r, alive)
			break
		}
	}
	return x, nil
}

// interpreted prepares a handler's programs.
func interpreted(h *Verified, set *maps.Set) (x *Interpreted, err error) {
	x = &Interpreted{Set: set}
	for _, at := range []build.Point{build.Entry, build.Exit} {
		res := h.At(at)
		if res == nil {
			continue
		}
		if x.codes[at], err = interp.New(res, asInterp{set}); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// share makes another handler use the maps. Records stay with the first handler.
func (x *Interpreted) share(h *Verified) (Maps, error) {
	y, err := interpreted(h, x.Set)
	if err != nil {
		return nil, err
	}
	y.borrowed, y.tracee = true, x.tracee
	if x.tracee != nil {
		if err := y.native(h, *x.tracee); err != nil {
			return nil, unsupported(err)
		}
	}
	return y, nil
}

// Close unmaps the maps, if they are the handler's own.
func (x *Interpreted) Close() error {
	if x.borrowed {
		return nil
	}
	if x.tracee != nil {
		clock.Drop(x.Set)
	}
	return x.Set.Close()
}

// Code returns the program at a point, nil if there is none.
func (x *Interpreted) Code(at build.Point) *interp.Code { return x.codes[at] }

// Records returns the records of the first ring, nil if there is none.
func (x *Interpreted) Records() (Records, error) {
	if x.records == nil {
		return nil, nil
	}
	return x.records, nil
}

// alive reports whether a thread may still be writing a record.
func alive(tid int) bool {
	return procfs.User(tid) >= 0
}

// asInterp adapts a set's maps to the interpreter.
type asInterp struct{ *maps.Set }

// Map returns map i, with the methods of a ring if it has one.
func (s asInterp) Map(i int) interp.Map {
	m := s.Set.Map(i)
	if r := m.Ring(); r != nil {
		return ringMap{m, r}
	}
	return m
}

type ringMap struct {
	interp.Map
	interp.Ring
}

// possibleCPUs is how many CPUs there can ever be: per-CPU maps have a value for each.
func possibleCPUs() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/possible") // 0-63, or 0-3,5
	if err != nil {
		return 1
	}
	list := strings.TrimSpace(string(text))
	last, err := strconv.Atoi(list[strings.LastIndexAny(list, "-,")+1:])
	if err != nil || last < 0 || last >= 1<<14 {
		return 1
	}
	return last + 1
}
