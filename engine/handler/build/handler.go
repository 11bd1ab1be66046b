package build

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Handler is what is put at a location: one program, or two that share their
// maps, one where a function is entered and one where it returns.
type Handler struct {
	Name        string
	Context     program.Context
	Entry, Exit *program.Program // one of them may be nil; Maps are the same
	// Read turns the maps into what the handler found out; nil: nobody knows
	// more than what the maps hold.
	Read func(Source) (Result, error)
	// Decode turns a record of the handler's ring into what it says; nil: it
	// writes none, or nobody knows them.
	Decode func(record []byte) (Result, error)
	// Guards are those in front of it, the first to run first.
	Guards []Guard
}

// Guard tells of a guard in front of a handler.
type Guard struct {
	Kind string // filter, every, rate, limit
	Map  string // where it keeps its state, "" if it has none
	Hits uint64 // of a limit
}

// Source is where the contents of a handler's maps come from, whichever executor
// filled them.
type Source interface {
	// Entries gives the entries of the map called name: the key, and one
	// value, or one for each CPU. Both are valid until the next one only. A
	// stack trace's value is its addresses.
	Entries(name string) iter.Seq2[[]byte, [][]byte]
}

// Result is what a handler found out. Text writes it for people, on a terminal
// of that many columns.
type Result interface {
	json.Marshaler
	Text(w io.Writer, columns int) error
}

// Point is where in a function a program runs.
type Point uint8

// The points there are.
const (
	Entry Point = iota
	Exit
)

func (p Point) String() string { return [...]string{"entry", "exit"}[p] }

// One makes a handler of one program.
func One(at Point, p *program.Program, ctx program.Context) *Handler {
	h := &Handler{Name: p.Name, Context: ctx}
	*h.at(at) = p
	return h
}

func (h *Handler) at(p Point) **program.Program {
	if p == Exit {
		return &h.Exit
	}
	return &h.Entry
}

// At is the program that runs at a point, nil if there is none.
func (h *Handler) At(p Point) *program.Program { return *h.at(p) }

// First is the point where a handler's work begins: the entry if it has a
// program there.
func (h *Handler) First() Point {
	if h.Entry == nil {
		return Exit
	}
	return Entry
}

// Maps are those that the handler's programs share.
func (h *Handler) Maps() []program.Map {
	if p := h.At(h.First()); p != nil {
		return p.Maps
	}
	return nil
}

// Before is the handler with a guard in front of its program at a point, and
// the maps that the guard brought along, under the names that they have now.
func (h *Handler) Before(at Point, guard func(b *Builder)) (*Handler, []program.Map, error) {
	p := h.At(at)
	if p == nil {
		return nil, nil, fmt.Errorf("%w: %s has no program at the function's %v", ErrBuild, h.Name, at)
	}
	guarded, err := Before(p, h.Context, guard)
	if err != nil {
		return nil, nil, err
	}
	out := *h
	*out.at(at) = guarded
	if other := out.at(1 - at); *other != nil {
		shared := **other
		shared.Maps = guarded.Maps
		*other = &shared
	}
	return &out, guarded.Maps[len(p.Maps):], nil
}
