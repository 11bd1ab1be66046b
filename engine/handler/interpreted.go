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

// Records are what a handler writes into its ring. One goroutine reads them.
type Records interface {
	// Read gives the next record, and waits for one until the deadline; then
	// the error is os.ErrDeadlineExceeded. It is valid until the next Read.
	Read(deadline time.Time) ([]byte, error)
	// Lost is how many were dropped for want of space, as far as that is told.
	Lost() uint64
}

// Taker are Records whose space somebody can be told to give back who does not
// read them: see ring.Reader.Take.
type Taker interface {
	Take(pos uint64) uint64
}

// recorder are Maps with a ring among them; nil if there is none.
type recorder interface {
	Records() (Records, error)
}

// Records are those of the instance's first ring, nil if it has none.
func (in *Instance) Records() (Records, error) {
	if r, ok := in.Maps.(recorder); ok {
		return r.Records()
	}
	return nil, nil
}

// InEngine is the engine's executor: programs are interpreted while the thread
// is stopped. The Maps that it opens are an *Interpreted.
type InEngine struct {
	// File makes the file that a handler's maps lie in; nil: one in memory.
	File  func() (*os.File, error)
	lines bool // programs write them, too
}

// Interpreted is a handler's programs and maps, ready for the interpreter.
type Interpreted struct {
	*maps.Set
	codes    [2]*interp.Code // by build.Point
	records  *ring.Reader
	borrowed bool // the maps are another's
	timed    bool // their clock is kept
}

// Open makes a handler's maps and gets its programs ready.
func (e InEngine) Open(h *Verified) (Maps, error) {
	set, err := maps.New(h.Handler.Maps(), maps.Options{CPUs: possibleCPUs(), Lines: e.lines, File: e.File})
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

// interpreted gets a handler's programs ready.
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

// share makes another handler use the maps. Their records stay with the first.
func (x *Interpreted) share(h *Verified) (Maps, error) {
	y, err := interpreted(h, x.Set)
	if err != nil {
		return nil, err
	}
	y.borrowed = true
	return y, nil
}

// Close takes the maps out of this process, if they are its own.
func (x *Interpreted) Close() error {
	if x.borrowed {
		return nil
	}
	if x.timed {
		clock.Drop(x.Set)
	}
	return x.Set.Close()
}

// Code is the program at a point, nil if there is none.
func (x *Interpreted) Code(at build.Point) *interp.Code { return x.codes[at] }

// Records are those of the first ring, nil if there is none.
func (x *Interpreted) Records() (Records, error) {
	if x.records == nil {
		return nil, nil
	}
	return x.records, nil
}

// alive is whether a thread may still be writing a record.
func alive(tid int) bool {
	return procfs.User(tid) >= 0
}

// asInterp gives the interpreter a set's maps as it wants them.
type asInterp struct{ *maps.Set }

// Map is map i: one with a ring has what rings have, too.
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

// possibleCPUs is how many CPUs there can ever be: values of maps are one for
// each.
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
