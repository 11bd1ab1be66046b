// Package program is a handler's portable form: eBPF instructions, cut into
// functions, the maps they use, and the table of helpers they may call. It is
// what the verifier checks, what the three executors run, and what cilium/ebpf
// objects (asm.Instructions, ProgramSpec, ELF files) are turned into and back.
//
// Pure: no I/O but reading object files; it knows no tracee.
package program

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

// Program is a handler's code. Index 0 is where it starts, with R1 the context.
type Program struct {
	Name    string
	Section string // of the object file that it comes from, "" of others: see At
	License string // "" is GPL's, for helpers that want it
	Insns   []Insn
	Funcs   []Func // ascending Start, the first is the program itself
	Maps    []Map  // what 64-bit loads of PseudoMap and PseudoMapValue mean
	// Source is the line that instruction i was made from, "" if nobody knows;
	// nil for the same of all.
	Source func(i int) string
}

// Func is a function of a program: the instructions from Start up to the next
// function's.
type Func struct {
	Name  string
	Start int
}

// End is the index behind function f's last instruction.
func (p *Program) End(f int) int {
	if f+1 < len(p.Funcs) {
		return p.Funcs[f+1].Start
	}
	return len(p.Insns)
}

// FuncAt is the function that instruction i is in.
func (p *Program) FuncAt(i int) int {
	for f := len(p.Funcs) - 1; f > 0; f-- {
		if i >= p.Funcs[f].Start {
			return f
		}
	}
	return 0
}

// MapType is a kind of map, by the kernel's number (enum bpf_map_type).
type MapType uint32

// The maps there are.
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

// PerCPU is whether the map has a value for each CPU.
func (t MapType) PerCPU() bool { return t == PerCPUHash || t == PerCPUArray }

// Map describes a map of a program. Sizes are in bytes.
type Map struct {
	Name       string
	Type       MapType
	KeySize    uint32
	ValueSize  uint32
	MaxEntries uint32
	Flags      uint32
	Contents   []KV // to begin with
	ReadOnly   bool // for the program: .rodata
}

// KV is an entry of a map.
type KV struct{ Key, Value []byte }

// Context is what R1 points to when a program starts: the registers of the
// thread that hit, struct pt_regs as a uprobe program sees it. It is the first
// Size bytes of an arch.Regs.
type Context struct {
	Arch string // GOARCH's name
	Size int    // bytes
	// Calls is the calling convention of the functions that the program is for: where
	// in the context their arguments are. What executors do does not depend on it.
	Calls arch.Convention
}

// ContextOf is the context of C functions on an instruction set, by GOARCH's name.
func ContextOf(name string) (Context, error) {
	switch name {
	case "amd64":
		return Context{Arch: name, Size: 21 * 8}, nil // struct pt_regs
	case "arm64":
		return Context{Arch: name, Size: 34 * 8}, nil // struct user_pt_regs
	}
	return Context{}, fmt.Errorf("no context for %q", name)
}
