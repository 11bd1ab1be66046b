package program

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// license is the license of programs that have none: the helpers that read user memory require it.
const license = "GPL"

// Spec returns the program in the form that cilium/ebpf loads, as a kprobe program, the type that
// the kernel runs at uprobes. Loads of maps refer to them by MapName.
func (p *Program) Spec() (*ebpf.ProgramSpec, error) {
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(p.Bytes()), binary.LittleEndian, "linux")
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", p.Name, ErrInvalid, err)
	}
	starts := map[int]*Func{}
	for f := range p.Funcs {
		starts[p.Funcs[f].Start] = &p.Funcs[f]
	}
	last := ""
	for it := insns.Iterate(); it.Next(); {
		i := int(it.Offset)
		if f := starts[i]; f != nil {
			*it.Ins = function(it.Ins.WithSymbol(f.Name), f.Name, len(p.Funcs) > 1)
		}
		if it.Ins.IsLoadFromMap() {
			m := int(int32(it.Ins.Constant))
			if m < 0 || m >= len(p.Maps) {
				return nil, p.refuse(i, invalid("map %d of %d", m, len(p.Maps)))
			}
			*it.Ins = it.Ins.WithReference(p.MapName(m))
		}
		if text := p.source(i, starts[i]); text != "" && (text != last || starts[i] != nil) {
			*it.Ins = it.Ins.WithSource(asm.Comment(text))
			last = text
		}
	}
	spec := &ebpf.ProgramSpec{Name: p.Name, Type: ebpf.Kprobe, Instructions: insns, License: p.License, ByteOrder: binary.LittleEndian}
	if spec.License == "" {
		spec.License = license
	}
	return spec, nil
}

// source returns the line of instruction i. If there are any lines, the kernel requires one at each
// function's start.
func (p *Program) source(i int, start *Func) string {
	if p.Source == nil {
		return ""
	}
	text := p.Source(i)
	if text == "" && start != nil {
		return start.Name
	}
	return text
}

// function marks a function's first instruction with a type: the kernel allows taking a function's
// address (bpf_loop) only for typed static functions, and requires types for all functions or none.
func function(ins asm.Instruction, name string, typed bool) asm.Instruction {
	if !typed {
		return ins
	}
	number := &btf.Int{Name: "unsigned long", Size: 8}
	proto := &btf.FuncProto{Return: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}}
	for n := range 5 {
		proto.Params = append(proto.Params, btf.FuncParam{Name: fmt.Sprintf("r%d", n+1), Type: number})
	}
	return btf.WithFuncMetadata(ins, &btf.Func{Name: identifier(name), Type: proto, Linkage: btf.StaticFunc})
}

// identifier returns a name that is valid in C: the kernel accepts no other names for types.
func identifier(name string) string {
	id := []byte("f_" + name)
	for i, c := range id {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			id[i] = '_'
		}
	}
	return string(id)
}

// MapName returns the name of map m in Spec: its own, or its number if it has none or an earlier
// map has the same name.
func (p *Program) MapName(m int) string {
	name := p.Maps[m].Name
	for _, other := range p.Maps[:m] {
		if other.Name == name {
			name = ""
		}
	}
	if name == "" {
		return fmt.Sprintf("map%d", m)
	}
	return name
}

// readOnly is BPF_F_RDONLY_PROG: the program can't write the map's values. cilium also freezes such
// maps for user space.
const readOnly = 1 << 7

// Spec returns the map in the form that cilium/ebpf creates.
func (m Map) Spec() *ebpf.MapSpec {
	s := &ebpf.MapSpec{
		Name: m.Name, Type: ebpf.MapType(m.Type), KeySize: m.KeySize, ValueSize: m.ValueSize,
		MaxEntries: m.MaxEntries, Flags: m.Flags,
	}
	if m.ReadOnly {
		s.Flags |= readOnly
	}
	for _, kv := range m.Contents {
		s.Contents = append(s.Contents, ebpf.MapKV{Key: kv.Key, Value: kv.Value})
	}
	return s
}
