package program

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// TestFromAsm: labels, both kinds of map load, functions, sources.
func TestFromAsm(t *testing.T) {
	maps := []Map{
		{Name: "a", Type: Hash, KeySize: 8, ValueSize: 8, MaxEntries: 1},
		{Name: "b", Type: Array, KeySize: 4, ValueSize: 8, MaxEntries: 1},
	}
	insns := asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference("b").WithSource(asm.Comment("the map")),
		asm.LoadMapPtr(asm.R2, 1),
		asm.LoadMapValue(asm.R3, 0, 4).WithReference("b"),
		asm.JEq.Imm(asm.R1, 0, "out"),
		asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc, Constant: -1}.WithReference("back"),
		asm.LongJump("out"),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out").WithSource(asm.Comment("the end")),
		asm.Call.Label("back"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("back"),
		asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc, Constant: -1}.WithReference("back"),
		asm.Return(),
	}
	before := insns.String()
	p, err := FromAsm("main", insns, maps)
	if err != nil {
		t.Fatal(err)
	}
	if insns.String() != before {
		t.Error("the instructions were changed")
	}
	var b strings.Builder
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "asm.golden", b.String())
	if p.Source(0) != "the map" || p.Source(1) != "" || p.Source(100) != "" || p.Source(-1) != "" {
		t.Error("sources")
	}
	sameAsSpec(t, p)
}

// TestFromAsmRefuses: errors name the mistake and the instruction.
func TestFromAsmRefuses(t *testing.T) {
	ret := asm.Return()
	far := make(asm.Instructions, 0, 40000)
	far = append(far, asm.Ja.Label("far"))
	for range 33000 {
		far = append(far, asm.Mov.Imm(asm.R0, 0))
	}
	far = append(far, ret.WithSymbol("far"))
	for want, insns := range map[string]asm.Instructions{
		"nowhere is not in the program":    {asm.Ja.Label("nowhere"), ret},
		"f is not in the program":          {asm.Call.Label("f"), ret},
		"x is there twice":                 {ret.WithSymbol("x"), ret.WithSymbol("x")},
		"no map is called m":               {asm.LoadMapPtr(asm.R1, 0).WithReference("m"), ret},
		"map 3 of 0":                       {asm.LoadMapPtr(asm.R1, 3), ret},
		"out of a jump's reach":            far,
		"helper FnProbeRead":               {asm.FnProbeRead.Call(), ret},
		"tail call":                        {asm.FnTailCall.Call(), ret},
		"does not fit into 32 bits":        {asm.Instruction{OpCode: asm.Mov.Op(asm.ImmSource), Constant: 1 << 40}, ret},
		"nothing is known of ret":          {asm.LoadImm(asm.R1, 0, asm.DWord).WithReference("ret"), ret.WithSymbol("ret")},
		"invalid opcode":                   {asm.Instruction{OpCode: asm.InvalidOpCode}, ret},
		"load from a packet":               {asm.LoadAbs(0, asm.Word), ret},
		"no instructions":                  {},
		"jump to 9, which is not in its f": {asm.Instruction{OpCode: asm.Ja.Op(asm.ImmSource), Offset: 8}, ret},
	} {
		_, err := FromAsm("bad", insns, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ErrInvalid) && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestFromSpec: only what the program refers to becomes its map.
func TestFromSpec(t *testing.T) {
	specs := map[string]*ebpf.MapSpec{
		"hits":   {Name: "hits", Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 7, Contents: []ebpf.MapKV{{Key: uint32(1), Value: []byte{1, 2, 3, 4}}}},
		"events": {Name: "events", Type: ebpf.PerfEventArray},
		"trie":   {Name: "trie", Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 4, MaxEntries: 7},
	}
	spec := &ebpf.ProgramSpec{Name: "p", Type: ebpf.Kprobe, SectionName: "uprobe", License: "MIT", Instructions: asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference("hits"),
		asm.LoadMapPtr(asm.R2, 0).WithReference("events"),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}}
	p, err := FromSpec(spec, specs)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Maps) != 2 || p.Maps[0].Name != "events" || p.Maps[1].MaxEntries != 7 || string(p.Maps[1].Contents[0].Key) != "\x01\x00\x00\x00" {
		t.Errorf("%+v", p.Maps)
	}
	if again, err := p.Spec(); err != nil || again.License != "MIT" {
		t.Errorf("%v, %v", again, err)
	}
	if m := p.Maps[1].Spec(); m.Type != ebpf.Hash || m.MaxEntries != 7 || len(m.Contents) != 1 {
		t.Errorf("%v", m)
	}
}

func TestFromSpecRefuses(t *testing.T) {
	insns := asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("m"), asm.Mov.Imm(asm.R0, 0), asm.Return()}
	for want, m := range map[string]ebpf.MapSpec{
		"flags 0x20":    {Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: 1 << 5},
		"pinned":        {Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1, Pinning: ebpf.PinByName},
		"initial key":   {Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1, Contents: []ebpf.MapKV{{Key: "no"}}},
		"initial value": {Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1, Contents: []ebpf.MapKV{{Key: uint32(0), Value: uint64(0)}}},
		"no entries":    {Type: ebpf.Hash, KeySize: 4, ValueSize: 4},
		"Queue":         {Type: ebpf.Queue, ValueSize: 4, MaxEntries: 1},
	} {
		_, err := FromSpec(&ebpf.ProgramSpec{Name: "p", Type: ebpf.Kprobe, Instructions: insns}, map[string]*ebpf.MapSpec{"m": &m})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "map m") {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := FromSpec(&ebpf.ProgramSpec{Name: "p", Type: ebpf.XDP, Instructions: insns}, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("another type: %v", err)
	}
}
