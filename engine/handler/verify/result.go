// Package verify proves that a program can't crash, hang or corrupt anything:
// not the program that it runs in, not the engine. What it learns on the way it
// hands to the executors.
//
// Pure; it imports package program only.
package verify

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Options are what a program is checked against.
type Options struct {
	Context program.Context
	Rights  program.Rights // granted by the registration
	// MaxInsns bounds the program's length, MaxSteps what one run may execute,
	// and MaxStates the work of the verifier; 0 means 4096, 1<<20, 1<<18.
	MaxInsns, MaxSteps, MaxStates int
}

// Result is a program that was accepted, and what is known about it.
type Result struct {
	Program *program.Program
	Context program.Context
	Needs   program.Rights // what its helpers need
	Steps   int            // no run executes more instructions
	Depth   int            // calls nest this deep, 1 without any
	Stack   []int          // bytes of stack that each function uses
	Facts   []Fact         // of each instruction
}

// Region is what memory a pointer points into.
type Region uint8

// The regions there are.
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
	// Of a load, store or atomic: what it accesses. Fixed says that Off, from
	// the start of the context, the end of the stack frame (negative), the map
	// value or the record, is the same each time.
	Region Region
	Fixed  bool
	Off    int
	// Of an access to a map value and of a call with a map: index of the map,
	// -1 where it differs or there is none.
	Map int
}

// Error is why a program was refused.
type Error struct {
	Program string
	Insn    int    // where
	Text    string // the instruction there
	Reg     int    // the register in question, -1: none
	Known   string // what was known about it
	Needed  string // what would have been needed
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

// Reads is whether some instruction loads the word at off of the context, or may.
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
