package builtin

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/printable"
)

// MaxStack is the largest number of addresses in a call stack: the kernel's limit.
const MaxStack = 127

// maxStacks is the largest number of different stacks that a map may hold.
const maxStacks = 1 << 20

// userStack makes get_stackid walk the program's stack, not the kernel's.
const userStack = 1 << 8

// Stacks counts call stacks, up to most different ones. Map "stacks", stack traces: the addresses,
// innermost first; map "counts", hash: the key is the stack's number (4 bytes) and the process (4),
// the value the count; map "misses". Cost: the walk along the stack, a lookup in a hash.
func Stacks(ctx program.Context, at build.Point, most int) (*build.Handler, error) {
	if most < 1 || most > maxStacks {
		return nil, fmt.Errorf("%w: room for %d different stacks: 1 to %d are possible", ErrParams, most, maxStacks)
	}
	b := build.New("stacks", ctx)
	stacks := b.Map(program.Map{Name: "stacks", Type: program.StackTrace, KeySize: 4, ValueSize: 8 * MaxStack, MaxEntries: uint32(most)})
	counts := b.Map(program.Map{Name: "counts", Type: program.Hash, KeySize: 8, ValueSize: 8, MaxEntries: uint32(most)})
	miss := newMisses(b)
	fault, full := b.NewLabel(), b.NewLabel()

	b.Move(build.R1, build.Ctx)
	b.LoadMap(build.R2, stacks)
	b.Const(build.R3, userStack)
	b.Call(program.FnGetStackID)
	b.JumpIf(build.Eq(build.R0, -efault), fault)
	b.JumpIf(build.SLt(build.R0, 0), full)
	key := b.Slot(8)
	b.StoreSize(key, build.R0, asm.Word)
	b.PIDTGID(build.R0)
	b.Add(asm.RSh.Imm(build.R0, 32))
	b.StoreSize(key.Add(4), build.R0, asm.Word)
	b.LookupOrInit(counts, key, full)
	b.Inc(build.At(build.R0, 0))
	b.Stop()
	miss.count(b, fault, missFault)
	miss.count(b, full, missFull)
	return finish(b, at, func(s build.Source) (build.Result, error) { return ReadStacks(s), nil })
}

const efault = 14

// Stack is a call stack and how often it was seen.
type Stack struct {
	PID   uint32
	Count uint64
	Addrs []arch.Addr // innermost first
}

// MarshalJSON writes {"pid","hits","addrs"}, with the addresses as hexadecimal text.
func (s Stack) MarshalJSON() ([]byte, error) {
	addrs := make([]string, len(s.Addrs))
	for i, a := range s.Addrs {
		addrs[i] = a.String()
	}
	return json.Marshal(struct {
		PID   uint32   `json:"pid"`
		Hits  uint64   `json:"hits"`
		Addrs []string `json:"addrs"`
	}{s.PID, s.Count, addrs})
}

// At is the address of frame i's instruction. For a caller it is an address in the call, not the
// one behind it, which may belong to another function.
func (s *Stack) At(i int) arch.Addr {
	if i == 0 {
		return s.Addrs[0]
	}
	return s.Addrs[i] - 1
}

// StackCounts is the result of stacks, the most frequent first.
type StackCounts struct {
	Stacks []Stack `json:"stacks"`
	Misses
	// Name names the code at an address of a process; nil: addresses stay numbers.
	Name func(pid uint32, at arch.Addr) string `json:"-"`
}

// ReadStacks reads stacks' maps.
func ReadStacks(s build.Source) *StackCounts {
	addrs := map[uint32][]arch.Addr{}
	for key, values := range s.Entries("stacks") {
		if len(key) == 4 && len(values) == 1 {
			addrs[binary.LittleEndian.Uint32(key)] = addresses(values[0])
		}
	}
	r := &StackCounts{Stacks: []Stack{}, Misses: readMisses(s)}
	for key, values := range s.Entries("counts") {
		if len(key) != 8 {
			continue
		}
		id, pid := binary.LittleEndian.Uint32(key), binary.LittleEndian.Uint32(key[4:])
		r.Stacks = append(r.Stacks, Stack{pid, total(values, 0), addrs[id]})
	}
	slices.SortFunc(r.Stacks, func(a, b Stack) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.PID, b.PID), slices.Compare(a.Addrs, b.Addrs))
	})
	return r
}

// addresses returns the addresses in the value of a stack trace, up to the first 0.
func addresses(value []byte) []arch.Addr {
	out := []arch.Addr{}
	for i := 0; i+8 <= len(value); i += 8 {
		a := arch.Addr(word(value, i))
		if a == 0 {
			break
		}
		out = append(out, a)
	}
	return out
}

// Text writes folded stacks: outermost first, separated by semicolons, and the count, one line per
// stack, in the form that flame graph programs read.
func (r *StackCounts) Text(w io.Writer, _ int) error {
	counts := map[string]uint64{}
	var order []string
	for _, s := range r.Stacks {
		names := make([]string, 0, len(s.Addrs))
		for i := range slices.Backward(s.Addrs) {
			names = append(names, r.name(&s, i))
		}
		line := strings.Join(names, ";")
		if counts[line] == 0 {
			order = append(order, line)
		}
		counts[line] += s.Count // calls from several places in one function become one line
	}
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(counts[b], counts[a]) })
	for _, line := range order {
		if err := printable.Printf(w, "%s %d", line, counts[line]); err != nil {
			return err
		}
	}
	return nil
}

// name is the name of frame i in a line of folded stacks.
func (r *StackCounts) name(st *Stack, i int) string {
	if r.Name != nil {
		if s := r.Name(st.PID, st.At(i)); s != "" {
			return strings.ReplaceAll(printable.Name(s), ";", ":")
		}
	}
	return st.Addrs[i].String()
}

// MarshalJSON writes the stacks with their addresses.
func (r *StackCounts) MarshalJSON() ([]byte, error) {
	type plain StackCounts
	return json.Marshal((*plain)(r))
}
