package build

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Handler is the code for a location: one program, or two that share their maps, one for the entry
// of a function and one for its return.
type Handler struct {
	Name        string
	Context     program.Context
	Entry, Exit *program.Program // one of them may be nil; Maps are the same
	// Read turns the maps into the handler's result; nil: the result is known only as the maps'
	// contents.
	Read func(Source) (Result, error)
	// Decode turns a record of the handler's ring into a result; nil: the handler writes none, or
	// their form is not known.
	Decode func(record []byte) (Result, error)
	// Open says that expressions of the handler have names that mean something at places of a program
	// only: it can't run before these are bound.
	Open bool
	// Guards are the guards in front of the handler; the first runs first.
	Guards []Guard
}

// Guard describes a guard in front of a handler.
type Guard struct {
	Kind string // filter, every, rate, limit
	Map  string // where it keeps its state, "" if it has none
	Hits uint64 // of a limit
}

// Source gives access to the contents of a handler's maps, independent of the executor.
type Source interface {
	// Entries returns the entries of the map called name: the key, and one value, or one for each
	// CPU. Both are valid only until the next entry. The value of a stack trace is its addresses.
	Entries(name string) iter.Seq2[[]byte, [][]byte]
}

// Result is the result of a handler. Text writes it for users, on a terminal of that many columns.
type Result interface {
	json.Marshaler
	Text(w io.Writer, columns int) error
}

// Point is the place in a function where a program runs.
type Point uint8

// Points.
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

// At returns the program that runs at a point, nil if there is none.
func (h *Handler) At(p Point) *program.Program { return *h.at(p) }

// First is the point where a handler's work begins: the entry if the handler has a program there.
func (h *Handler) First() Point {
	if h.Entry == nil {
		return Exit
	}
	return Entry
}

// Maps returns the maps that the handler's programs share.
func (h *Handler) Maps() []program.Map {
	if p := h.At(h.First()); p != nil {
		return p.Maps
	}
	return nil
}

// Before returns the handler with a guard in front of its program at a point, and the maps that the
// guard has added, under their new names.
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
