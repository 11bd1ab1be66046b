package program

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// license is what programs without one of their own are loaded under: the
// helpers that read user memory ask for it.
const license = "GPL"

// Spec is the program as cilium/ebpf loads it, as a kprobe program, which is
// what the kernel runs at uprobes. Loads of maps refer to them by MapName.
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

// source is the line of instruction i. The kernel wants one at each function's
// start if there are any.
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

// function marks a function's first instruction with a type: the kernel lets
// a function's address be taken (bpf_loop) of typed static functions only, and
// wants types for all or none.
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

// identifier is a name that C would take: the kernel's types have no others.
func identifier(name string) string {
	id := []byte("f_" + name)
	for i, c := range id {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			id[i] = '_'
		}
	}
	return string(id)
}

// MapName is what map m is called in Spec: its name, or its number where it has
// none or shares it with one before.
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

// readOnly is BPF_F_RDONLY_PROG: the program can't write the map's values.
// cilium freezes such maps for the other side, too.
const readOnly = 1 << 7

// Spec is the map as cilium/ebpf creates it.
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
