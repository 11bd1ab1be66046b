package program

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/ptracer/ptracer/failure"
)

// FromAsm makes a program of instructions in the form of cilium/ebpf, which is the usual form to
// write them in. Jumps, calls and loads of functions may refer to symbols. Loads of maps refer to a
// map's name, or hold its index where a loaded program has a file descriptor. Functions start at
// the targets of calls. Source lines are kept. FromAsm does not change insns.
func FromAsm(name string, insns asm.Instructions, maps []Map) (*Program, error) {
	r := reader{Program: &Program{Name: name, Maps: maps}, indexes: true}
	return r.read(insns)
}

// FromSpec makes a program of one that cilium/ebpf would load. The program's maps are those of
// specs that it refers to, sorted by name.
func FromSpec(spec *ebpf.ProgramSpec, specs map[string]*ebpf.MapSpec) (*Program, error) {
	maps, err := usedMaps([]*ebpf.ProgramSpec{spec}, specs)
	if err != nil {
		return nil, err
	}
	return fromSpec(spec, maps)
}

func fromSpec(spec *ebpf.ProgramSpec, maps []Map) (*Program, error) {
	p := &Program{Name: spec.Name, Section: spec.SectionName, License: spec.License, Maps: maps}
	if spec.Type != ebpf.Kprobe {
		return nil, p.refuse(-1, failure.Unsupportedf("type %v; programs for uprobe, uretprobe and kprobe sections can be handlers", spec.Type))
	}
	if strings.Contains(spec.SectionName, ".session") {
		return nil, p.refuse(-1, failure.Unsupportedf("a session of entry and return; use two programs"))
	}
	if spec.ByteOrder != nil && spec.ByteOrder != binary.LittleEndian {
		return nil, p.refuse(-1, failure.Unsupportedf("big endian"))
	}
	r := reader{Program: p}
	return r.read(spec.Instructions)
}

// usedMaps returns the maps that programs refer to, sorted by name.
func usedMaps(progs []*ebpf.ProgramSpec, specs map[string]*ebpf.MapSpec) ([]Map, error) {
	used := map[string]bool{}
	for _, p := range progs {
		for i := range p.Instructions {
			if in := &p.Instructions[i]; in.IsLoadFromMap() && specs[in.Reference()] != nil {
				used[in.Reference()] = true
			}
		}
	}
	var list []Map
	for _, name := range slices.Sorted(maps.Keys(used)) {
		m, err := fromMapSpec(name, specs[name])
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// knownFlags are map flags without an effect here: BPF_F_NO_PREALLOC, BPF_F_NO_COMMON_LRU,
// BPF_F_MMAPABLE.
const knownFlags = 1<<0 | 1<<1 | 1<<10

func fromMapSpec(name string, s *ebpf.MapSpec) (Map, error) {
	m := Map{
		Name: name, Type: MapType(s.Type), KeySize: s.KeySize, ValueSize: s.ValueSize, MaxEntries: s.MaxEntries,
		Flags: s.Flags &^ readOnly, ReadOnly: s.Flags&readOnly != 0,
	}
	refuse := func(format string, args ...any) (Map, error) {
		return m, &Error{Program: "map " + name, Insn: -1, Err: failure.Unsupportedf(format, args...)}
	}
	switch {
	case mapTypes[m.Type] == "":
		return refuse("type %v", s.Type)
	case m.Flags&^knownFlags != 0:
		return refuse("flags %#x", m.Flags&^knownFlags)
	case s.Pinning != ebpf.PinNone:
		return refuse("pinned maps belong to others")
	case s.InnerMap != nil:
		return refuse("maps in maps")
	}
	if m.Type == PerfEvents {
		m.KeySize, m.ValueSize = 4, 4 // cilium sets them only at load
	}
	for _, kv := range s.Contents {
		key, err := raw(kv.Key, m.KeySize)
		if err != nil {
			return refuse("initial key: %v", err)
		}
		value, err := raw(kv.Value, m.ValueSize)
		if err != nil {
			return refuse("initial value: %v", err)
		}
		m.Contents = append(m.Contents, KV{key, value})
	}
	return m, m.Check()
}

// raw returns the memory of a key or value.
func raw(v any, size uint32) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		var err error
		if b, err = binary.Append(nil, binary.LittleEndian, v); err != nil {
			return nil, err
		}
	}
	if len(b) != int(size) {
		return nil, fmt.Errorf("%d bytes instead of %d", len(b), size)
	}
	return slices.Clone(b), nil
}

// reader converts cilium's instructions into this package's.
type reader struct {
	*Program
	indexes bool           // loads of maps may hold indexes
	symbols map[string]int // their positions
	names   map[int]string // the reverse
	maps    map[string]int
	sources []string
}

func (r *reader) read(insns asm.Instructions) (*Program, error) {
	if err := r.place(insns); err != nil {
		return nil, err
	}
	for it := slices.Clone(insns).Iterate(); it.Next(); {
		if err := r.convert(*it.Ins); err != nil {
			return nil, err
		}
	}
	if len(r.sources) > 0 {
		sources := append(r.sources, make([]string, len(r.Insns)-len(r.sources))...)
		r.Source = func(i int) string {
			if i < 0 || i >= len(sources) {
				return ""
			}
			return sources[i]
		}
	}
	if err := r.findFuncs(r.names); err != nil {
		return nil, err
	}
	return r.Program, Validate(r.Program)
}

// place records the positions of symbols, and maps by name.
func (r *reader) place(insns asm.Instructions) error {
	r.symbols, r.names, r.maps = map[string]int{}, map[int]string{}, map[string]int{}
	for i := range r.Maps {
		r.maps[r.MapName(i)] = i
	}
	for it := insns.Iterate(); it.Next(); {
		name := it.Ins.Symbol()
		if name == "" {
			continue
		}
		if _, ok := r.symbols[name]; ok {
			return r.refuse(-1, invalid("symbol %s is there twice", name))
		}
		r.symbols[name] = int(it.Offset)
		r.names[int(it.Offset)] = name
	}
	return nil
}

// convert appends an instruction with its references resolved.
func (r *reader) convert(in asm.Instruction) error {
	at := len(r.Insns)
	if s := in.Source(); s != nil {
		r.sources = append(r.sources, make([]string, at+1-len(r.sources))...)
		r.sources[at] = s.String()
	}
	refuse := func(why error) error {
		e := r.refuse(-1, why).(*Error)
		e.Insn, e.Text = at, fmt.Sprint(in)
		return e
	}
	if err := r.foreign(&in); err != "" {
		return refuse(failure.Unsupportedf("%s", err))
	}
	if err := r.resolve(&in, at); err != "" {
		return refuse(invalid("%s", err))
	}
	if !fits(&in) {
		return refuse(invalid("%d does not fit into 32 bits", in.Constant))
	}
	if op := in.OpCode.AtomicOp(); op != asm.InvalidAtomic {
		in.Constant = int64(op >> 8) // Marshal, as of v0.22.0, turns each one that asm has built into an addition
	}
	var b bytes.Buffer
	if _, err := in.Marshal(&b, binary.LittleEndian); err != nil {
		return refuse(invalid("%v", err))
	}
	for raw := b.Bytes(); len(raw) >= InsnSize; raw = raw[InsnSize:] {
		r.Insns = append(r.Insns, decode(raw))
	}
	return nil
}

// fits reports whether an instruction's constant can be encoded.
func fits(in *asm.Instruction) bool {
	c := in.Constant
	switch {
	case in.OpCode.IsDWordLoad():
		return true
	case in.OpCode.Class() == asm.StClass && in.OpCode.Size() != asm.DWord:
		return c >= math.MinInt32 && c <= math.MaxUint32
	}
	return c == int64(int32(c))
}

// foreign returns which feature of an instruction only the kernel supports.
func (r *reader) foreign(in *asm.Instruction) string {
	switch relo := btf.CORERelocationMetadata(in); {
	case relo != nil:
		return fmt.Sprintf("relocation against the kernel's types (CO-RE): %v; compile without preserve_access_index", relo)
	case in.IsLoadFromMap() && in.Reference() == "" && !r.indexes:
		return "a variable of the kernel's configuration (.kconfig)"
	case in.IsKfuncCall():
		return fmt.Sprintf("kernel function %q", in.Reference())
	case in.Map() != nil:
		return "a map that the kernel has already"
	case in.IsBuiltinCall() && asm.BuiltinFunc(in.Constant) == asm.FnTailCall:
		return "tail call"
	case in.IsBuiltinCall() && Helpers[int32(in.Constant)] == nil:
		return fmt.Sprintf("helper %v", asm.BuiltinFunc(in.Constant))
	}
	return ""
}

// resolve replaces the reference of instruction at by its target, and returns what is wrong with
// it.
func (r *reader) resolve(in *asm.Instruction, at int) string {
	ref := in.Reference()
	if in.IsLoadFromMap() {
		return r.resolveMap(in, ref)
	}
	if ref == "" {
		return ""
	}
	to, ok := r.symbols[ref]
	distance := int64(to - at - 1)
	long := in.OpCode.Class() == asm.Jump32Class && in.OpCode.JumpOp() == asm.Ja
	switch {
	case !ok:
		return fmt.Sprintf("%s is not in the program", ref)
	case in.IsFunctionReference() || long:
		if in.Constant == -1 { // cilium's mark of an unresolved reference
			in.Constant = distance
		}
		if in.OpCode.IsDWordLoad() {
			in.Constant &= math.MaxUint32 // the second half is 0
		}
	case in.OpCode.Class().IsJump():
		if distance != int64(int16(distance)) {
			return fmt.Sprintf("%s is out of a jump's reach", ref)
		}
		if in.Offset == -1 {
			in.Offset = int16(distance)
		}
	default:
		return fmt.Sprintf("nothing is known of %s's address", ref)
	}
	return ""
}

func (r *reader) resolveMap(in *asm.Instruction, ref string) string {
	m, ok := r.maps[ref]
	switch {
	case ok:
		in.Constant = in.Constant&^math.MaxUint32 | int64(m)
	case ref != "":
		return fmt.Sprintf("no map is called %s", ref)
	}
	return ""
}
