// Package builtin holds the built-in handlers:
//
//	count     hits
//	hist      histogram of a number, by powers of two or by equal steps
//	record    arguments, strings, return value, time of each hit, in a ring
//	latency   histogram of the time from a function's entry to its exit
//	stacks    call stacks and how often each was seen
//	distinct  values of a number and how often each was seen
//	override  changes an argument or a return value
//
// and the guards that any handler can have: filter, every, rate, limit.
//
// Package build makes each of them, as it would a user's handler. Each has a reader that turns its
// maps into a typed result with text and JSON. The comment of each handler describes its maps;
// numbers are little-endian. Additions to counters are atomic, even in per-CPU maps: in the tracee
// the kernel may move a thread to another CPU at any instruction, and no hit may be lost.
//
// The package is pure; it imports program, build, filter and arch.
package builtin

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// ErrParams is wrapped by errors about the parameters of a handler.
var ErrParams = errors.New("handler")

// finish makes a handler of the program that b has built.
func finish(b *build.Builder, at build.Point, read func(build.Source) (build.Result, error)) (*build.Handler, error) {
	p, err := b.Program()
	if err != nil {
		return nil, err
	}
	h := build.One(at, p, b.Context())
	h.Read = read
	return h, nil
}

// checkPoint refuses expressions that have no value at a point.
func checkPoint(at build.Point, exprs ...*filter.Expr) error {
	for _, e := range exprs {
		if at == build.Exit && e.UsesArgs() {
			return fmt.Errorf("%w: %s: at the function's exit its arguments are gone", ErrParams, e.Text())
		}
		if at == build.Entry && e.UsesRet() {
			return fmt.Errorf("%w: %s: at the function's entry there is no result yet", ErrParams, e.Text())
		}
	}
	return nil
}

// word returns the 64-bit number at off, 0 if value is too short.
func word(value []byte, off int) uint64 {
	if len(value) < off+8 {
		return 0
	}
	return binary.LittleEndian.Uint64(value[off:])
}

// total returns the sum of the numbers at off in all CPUs' values.
func total(values [][]byte, off int) (sum uint64) {
	for _, v := range values {
		sum += word(v, off)
	}
	return sum
}

// Words of the map "misses", which handlers have that may fail to record a hit.
const (
	missFault  = 8 * iota // memory could not be read
	missFull              // a map or ring was full
	missOrphan            // an exit in a thread without a known entry
	missSize
)

// misses counts hits that a handler could not record.
type misses struct{ m build.Map }

func newMisses(b *build.Builder) misses {
	return misses{b.Map(program.Map{Name: "misses", Type: program.PerCPUArray, KeySize: 4, ValueSize: missSize, MaxEntries: 1})}
}

// count adds one to a word and ends the program; label is its beginning.
func (m misses) count(b *build.Builder, label build.Label, off int) {
	b.Here(label)
	b.Index(m.m, 0)
	b.Inc(build.At(build.R0, off))
	b.Stop()
}

// Misses are counts of hits that a handler saw and could not record.
type Misses struct {
	Faults uint64 `json:"faults,omitempty"` // memory could not be read
	Full   uint64 `json:"full,omitempty"`   // a map or ring was full
}

func readMisses(s build.Source) (m Misses) {
	for _, values := range s.Entries("misses") {
		m.Faults += total(values, missFault)
		m.Full += total(values, missFull)
	}
	return m
}

// Missing describes the hits that were not recorded, and why; "" if there are none.
func (m Misses) Missing() string {
	switch {
	case m.Faults != 0 && m.Full != 0:
		return fmt.Sprintf("not noted: %d (memory not readable), %d (no room)", m.Faults, m.Full)
	case m.Faults != 0:
		return fmt.Sprintf("not noted: %d (memory not readable)", m.Faults)
	case m.Full != 0:
		return fmt.Sprintf("not noted: %d (no room)", m.Full)
	}
	return ""
}
