package program

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

var (
	mov0 = Insn{Op: ClassAlu64 | AluMov}
	exit = Insn{Op: ClassJmp | JmpExit}
	ld64 = uint8(ClassLd | SizeDW)
)

// TestValidateRefuses: one mistake each, the place and the reason.
func TestValidateRefuses(t *testing.T) {
	value := Map{Name: "v", Type: Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}
	many := Map{Name: "m", Type: Array, KeySize: 4, ValueSize: 8, MaxEntries: 2}
	call := Insn{Op: ClassJmp | JmpCall, Src: CallFunc}
	for _, c := range []struct {
		name  string
		insns []Insn
		funcs []int
		maps  []Map
		at    int
		want  string
	}{
		{"nothing", nil, nil, nil, -1, "no instructions"},
		{"no exit", []Insn{mov0}, nil, nil, 0, "neither exit nor jump"},
		{"half", []Insn{mov0, {Op: ld64}}, nil, nil, -1, "half of a 64-bit load"},
		{"second half", []Insn{{Op: ld64}, {Dst: 1}, exit}, nil, nil, 0, "means nothing"},
		{"register", []Insn{{Op: ClassAlu64 | AluMov, Dst: 11}, exit}, nil, nil, 0, "no such register"},
		{"frame", []Insn{{Op: ClassAlu64 | AluAdd, Dst: 10, Imm: 8}, exit}, nil, nil, 0, "read only"},
		{"frame by fetch", []Insn{{Op: ClassStx | ModeAtomic | SizeDW, Dst: 1, Src: 10, Imm: AtomicXchg}, exit}, nil, nil, 0, "read only"},
		{"opcode", []Insn{{Op: 0xff}, exit}, nil, nil, 0, "no such instruction"},
		{"division", []Insn{{Op: ClassAlu | AluMod}, exit}, nil, nil, 0, "by zero"},
		{"shift", []Insn{{Op: ClassAlu | AluLsh, Imm: 32}, exit}, nil, nil, 0, "32 of 32 bits"},
		{"swap", []Insn{{Op: ClassAlu | AluEnd, Imm: 8}, exit}, nil, nil, 0, "swap"},
		{"atomic", []Insn{{Op: ClassStx | ModeAtomic | SizeDW, Imm: 0x99}, exit}, nil, nil, 0, "atomic"},
		{"atomic byte", []Insn{{Op: ClassStx | ModeAtomic | SizeB}, exit}, nil, nil, 0, "1 bytes"},
		{"sign of 8", []Insn{{Op: ClassLdx | ModeMemSX | SizeDW}, exit}, nil, nil, 0, "no such instruction"},
		{"before", []Insn{{Op: ClassJmp | JmpA, Off: -2}}, nil, nil, 0, "jump to -1"},
		{"behind", []Insn{{Op: ClassJmp | JmpEq, Off: 1}, exit}, nil, nil, 0, "jump to 2"},
		{"into a load", []Insn{{Op: ClassJmp | JmpA, Off: 1}, {Op: ld64}, {}, exit}, nil, nil, 0, "jump to 2"},
		{"long", []Insn{{Op: ClassJmp32 | JmpA, Imm: 1 << 30}}, nil, nil, 0, "jump to"},
		{"into a function", []Insn{{Op: ClassJmp | JmpA, Off: 1}, exit, mov0, exit}, []int{2}, nil, 0, "not in its function"},
		{"fall through", []Insn{mov0, mov0, exit}, []int{1}, nil, 0, "neither exit nor jump"},
		{"call to nowhere", []Insn{call, exit}, nil, nil, 0, "no function starts at 1"},
		{"call far", []Insn{{Op: call.Op, Src: CallFunc, Imm: -1 << 31}, exit}, nil, nil, 0, "no function"},
		{"call of what", []Insn{{Op: call.Op, Src: 2}, exit}, nil, nil, 0, "no such call"},
		{"helper", []Insn{{Op: call.Op, Imm: 4}, exit}, nil, nil, 0, "helper 4"},
		{"may_goto", []Insn{{Op: 0xe5}, exit}, nil, nil, 0, "may_goto"},
		{"packet", []Insn{{Op: 0x20}, exit}, nil, nil, 0, "packet"},
		{"no map", []Insn{{Op: ld64, Src: PseudoMap}, {}, exit}, nil, nil, 0, "map 0 of 0"},
		{"negative map", []Insn{{Op: ld64, Src: PseudoMap, Imm: -1}, {}, exit}, nil, []Map{value}, 0, "map -1 of 1"},
		{"value of many", []Insn{{Op: ld64, Src: PseudoMapValue}, {}, exit}, nil, []Map{many}, 0, "no only value"},
		{"behind the value", []Insn{{Op: ld64, Src: PseudoMapValue}, {Imm: 8}, exit}, nil, []Map{value}, 0, "offset 8"},
		{"kind of load", []Insn{{Op: ld64, Src: 3}, {}, exit}, nil, nil, 0, "no such 64-bit load"},
		{"function in a load", []Insn{{Op: ld64}, {}, exit}, []int{1}, nil, -1, "inside of a 64-bit load"},
		{"functions in disorder", []Insn{mov0, exit, mov0, exit}, []int{2, 2}, nil, -1, "starts at 2"},
		{"function behind", []Insn{mov0, exit}, []int{2}, nil, -1, "starts at 2"},
	} {
		p := &Program{Name: c.name, Insns: c.insns, Funcs: []Func{{"main", 0}}, Maps: c.maps}
		for _, f := range c.funcs {
			p.Funcs = append(p.Funcs, Func{"f", f})
		}
		var e *Error
		if err := Validate(p); !errors.As(err, &e) || e.Insn != c.at || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := Validate(&Program{Insns: []Insn{mov0, exit}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("no functions: %v", err)
	}
}

// TestValidateMaps: what no machine can make.
func TestValidateMaps(t *testing.T) {
	for want, m := range map[string]Map{
		"a key of 8":      {Type: Array, KeySize: 8, ValueSize: 8, MaxEntries: 1},
		"a key of 0":      {Type: Hash, ValueSize: 8, MaxEntries: 1},
		"a key of 513":    {Type: Hash, KeySize: 513, ValueSize: 8, MaxEntries: 1},
		"a value of 0":    {Type: LRUHash, KeySize: 8, MaxEntries: 1},
		"no entries":      {Type: PerCPUHash, KeySize: 8, ValueSize: 8},
		"neither keys":    {Type: RingBuf, KeySize: 4, ValueSize: 4, MaxEntries: 4096},
		"5000 bytes":      {Type: RingBuf, MaxEntries: 5000},
		"2048 bytes":      {Type: RingBuf, MaxEntries: 2048},
		"12 bytes":        {Type: StackTrace, KeySize: 4, ValueSize: 12, MaxEntries: 1},
		"1024 bytes":      {Type: StackTrace, KeySize: 4, ValueSize: 128 * 8, MaxEntries: 1},
		"map type 999":    {Type: 999},
		"another size":    {Type: Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Contents: []KV{{[]byte{0}, nil}}},
		"read only":       {Type: Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1, ReadOnly: true},
		"a value of 8":    {Type: PerfEvents, KeySize: 4, ValueSize: 8},
		"a value of 4294": {Type: Array, KeySize: 4, ValueSize: 1<<32 - 1, MaxEntries: 1},
	} {
		p := &Program{Name: "p", Insns: []Insn{mov0, exit}, Funcs: []Func{{"p", 0}}, Maps: []Map{m}}
		if err := Validate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// FuzzFromBytes: any bytes are refused, or are a program that has a text and
// goes to cilium and back.
func FuzzFromBytes(f *testing.F) {
	maps := forms().Maps
	all := forms().Bytes()
	f.Add(all)
	for i := 0; i+24 < len(all); i += 8 {
		f.Add(slices.Concat(all[i:i+16], (&Program{Insns: []Insn{mov0, exit}}).Bytes()))
	}
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := FromBytes("fuzz", raw, maps)
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("an error of no class: %v", err)
			}
			return
		}
		if string(p.Bytes()) != string(raw) {
			t.Error("other bytes")
		}
		for i := range p.Insns {
			if text := p.Text(i); strings.Contains(text, "unknown") || strings.Contains(text, "?") {
				t.Errorf("%d: %s", i, text)
			}
		}
		sameAsSpec(t, p)
	})
}

// FuzzValidate: programs with random functions and maps, too.
func FuzzValidate(f *testing.F) {
	f.Add(forms().Bytes(), 168, 0, uint32(64), uint32(1))
	f.Fuzz(func(t *testing.T, raw []byte, second, third int, value, entries uint32) {
		p := &Program{
			Name: "fuzz", Funcs: []Func{{"a", 0}, {"b", second}, {"c", third}},
			Maps: []Map{{Type: Array, KeySize: 4, ValueSize: value, MaxEntries: entries}, {Type: Hash, KeySize: 4, ValueSize: value, MaxEntries: entries}},
		}
		for ; len(raw) >= InsnSize; raw = raw[InsnSize:] {
			p.Insns = append(p.Insns, decode(raw))
		}
		if Validate(p) != nil {
			return
		}
		for i, in := range p.Insns {
			if in.IsJump() && (in.Target(i) < 0 || in.Target(i) >= len(p.Insns)) && p.Text(i) != "" {
				t.Errorf("%d: jump to %d", i, in.Target(i))
			}
		}
		for i := range p.Funcs {
			if last := p.Insns[p.End(i)-1]; !last.IsExit() && !last.Always() {
				t.Errorf("function %d ends in %v", i, last)
			}
		}
	})
}
