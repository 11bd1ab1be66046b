// Package program is a handler's portable form: eBPF instructions, divided into functions, the maps
// that they use, and the table of helpers that they may call. The verifier checks this form, the
// three executors run it, and it is converted to and from cilium/ebpf objects (asm.Instructions,
// ProgramSpec, ELF files).
//
// The package is pure: its only I/O is to read object files, and it uses no tracee.
package program

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

// Program is a handler's code. It starts at index 0, with the context in R1.
type Program struct {
	Name    string
	Section string // of its object file, "" without one: see Place
	License string // "" means GPL, which some helpers require
	Insns   []Insn
	Funcs   []Func // ascending Start, the first is the program itself
	Maps    []Map  // the maps that 64-bit loads of PseudoMap and PseudoMapValue refer to
	// Source returns the source line of instruction i, "" if it is not known; nil if no line is
	// known.
	Source func(i int) string
}

// Func is a function of a program: the instructions from Start up to the next
// function's.
type Func struct {
	Name  string
	Start int
}

// End returns the index behind function f's last instruction.
func (p *Program) End(f int) int {
	if f+1 < len(p.Funcs) {
		return p.Funcs[f+1].Start
	}
	return len(p.Insns)
}

// FuncAt returns the function that instruction i is in.
func (p *Program) FuncAt(i int) int {
	for f := len(p.Funcs) - 1; f > 0; f-- {
		if i >= p.Funcs[f].Start {
			return f
		}
	}
	return 0
}

// MapType is a kind of map, with the kernel's number (enum bpf_map_type).
type MapType uint32

// Map types.
const (
	Hash        MapType = 1
	Array       MapType = 2
	PerCPUHash  MapType = 5
	PerCPUArray MapType = 6
	StackTrace  MapType = 7
	LRUHash     MapType = 9
	PerfEvents  MapType = 4  // perf_event_output's target: a ring here too
	RingBuf     MapType = 27 // MaxEntries is its size in bytes
)

var mapTypes = map[MapType]string{
	Hash: "hash", Array: "array", PerCPUHash: "percpu_hash", PerCPUArray: "percpu_array",
	StackTrace: "stack_trace", LRUHash: "lru_hash", PerfEvents: "perf_event_array", RingBuf: "ringbuf",
}

func (t MapType) String() string {
	if s := mapTypes[t]; s != "" {
		return s
	}
	return fmt.Sprintf("map type %d", uint32(t))
}

// PerCPU reports whether the map has a value for each CPU.
func (t MapType) PerCPU() bool { return t == PerCPUHash || t == PerCPUArray }

// Map describes a map of a program. Sizes are in bytes.
type Map struct {
	Name       string
	Type       MapType
	KeySize    uint32
	ValueSize  uint32
	MaxEntries uint32
	Flags      uint32
	Contents   []KV // initial entries
	ReadOnly   bool // the program can't write it: .rodata
}

// KV is an entry of a map.
type KV struct{ Key, Value []byte }

// Context describes the memory that R1 points to when a program starts: the registers of the thread
// that hit, in the form of struct pt_regs that uprobe programs see. It is the first Size bytes of
// an arch.Regs.
type Context struct {
	Arch string // GOARCH
	Size int    // bytes
	// Calls is the calling convention of the functions that the program is for: it says where in
	// the context their arguments are. Executors do not depend on it.
	Calls arch.Convention
}

// ContextOf returns the context of C functions on an instruction set, named by GOARCH.
func ContextOf(name string) (Context, error) {
	switch name {
	case "amd64":
		return Context{Arch: name, Size: 21 * 8}, nil // struct pt_regs
	case "arm64":
		return Context{Arch: name, Size: 34 * 8}, nil // struct user_pt_regs
	}
	return Context{}, fmt.Errorf("no context for %q", name)
}
