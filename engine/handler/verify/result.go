// Package verify proves that a program can't crash, hang or corrupt anything: neither the traced
// program nor the engine. The executors use the facts that it finds.
//
// Pure; it imports package program only.
package verify

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Options are the conditions for a program.
type Options struct {
	Context program.Context
	Rights  program.Rights // granted at registration
	// MaxInsns limits the program's length, MaxSteps the instructions of one run, and MaxStates the
	// work of the verifier; 0 means 4096, 1<<20, 1<<18.
	MaxInsns, MaxSteps, MaxStates int
}

// Result is an accepted program, and what is known about it.
type Result struct {
	Program *program.Program
	Context program.Context
	Needs   program.Rights // what its helpers need
	Steps   int            // no run executes more instructions
	Depth   int            // calls nest this deep, 1 without any
	Stack   []int          // bytes of stack that each function uses
	Facts   []Fact         // of each instruction
}

// Region is the kind of memory that a pointer points into.
type Region uint8

// Regions.
const (
	None Region = iota
	Ctx
	Stack
	MapValue
	Record // reserved in a ring
	Mixed  // differs from path to path
)

func (r Region) String() string {
	return [...]string{"none", "context", "stack", "map value", "record", "mixed"}[r]
}

// Fact is what the verifier knows about one instruction, over all paths.
type Fact struct {
	Reached bool
	// Region, Off and Fixed describe the memory that a load, store or atomic operation accesses.
	// Fixed means that Off is the same each time; it is relative to the start of the context, the
	// end of the stack frame (negative), the map value or the record.
	Region Region
	Fixed  bool
	Off    int
	// Map is the index of the map, for an access to a map value and for a call with a map; -1 if it
	// differs or there is none.
	Map int
}

// Error says why a program was refused.
type Error struct {
	Program string
	Insn    int    // where
	Text    string // the instruction there
	Reg     int    // the register in question, -1: none
	Known   string // what the verifier knew about it
	Needed  string // what it would have needed to know
	Path    []int  // the jumps taken to get there, newest last
	Err     error  // class, for errors.Is
}

func (e *Error) Error() string {
	at := fmt.Sprintf("%s: instruction %d (%s): ", e.Program, e.Insn, e.Text)
	if e.Reg < 0 {
		return at + e.Needed
	}
	return fmt.Sprintf("%sr%d is %s, needed: %s", at, e.Reg, e.Known, e.Needed)
}

// Unwrap gives the class.
func (e *Error) Unwrap() error { return e.Err }

// Reads reports whether some instruction loads, or may load, the word at off of the context.
func (r *Result) Reads(off int) bool {
	for i, f := range r.Facts {
		if f.Region != Ctx && f.Region != Mixed || r.Program.Insns[i].Class() != program.ClassLdx {
			continue
		}
		if !f.Fixed || f.Off/8 == off/8 {
			return true
		}
	}
	return false
}
