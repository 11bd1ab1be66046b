package compile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"
	"golang.org/x/arch/x86/x86asm"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// golden is a program with expected code.
type golden struct {
	name   string
	insns  []insn
	maps   []program.Map
	target Target
	funcs  []int
	facts  func(*verify.Result)
}

// The goldens' places: the code, the maps in reach of it, helpers near by.
const (
	goldenBase   = 0x10000000
	goldenRegion = 0x10200000
)

func goldenTarget(t Target, maps int) Target {
	t.Base = goldenBase
	if t.Region == 0 {
		t.Region = goldenRegion
	}
	for i := len(t.Maps); i < maps; i++ {
		t.Maps = append(t.Maps, Map{Header: 4096 * i, Data: 4096*i + 64, Stride: 24, CPUStride: 128})
	}
	if t.Helpers == nil {
		t.Helpers = map[Helper]arch.Addr{}
		for n := range program.Helpers {
			for m := NoMap; m < max(maps, 1); m++ { // goldens know no facts of maps
				t.Helpers[Helper{Num: n, Map: m}] = goldenBase + 0x100000 + arch.Addr(n)*16
			}
		}
	}
	return t
}

// TestGolden compares each form with its expected bytes, and with what an independent disassembler
// reads in them.
func TestGolden(t *testing.T) {
	for _, arch := range archs {
		var out bytes.Buffer
		for _, g := range goldens() {
			res := accepted(arch, g.insns, g.maps, g.funcs...)
			if g.facts != nil {
				g.facts(res)
			}
			code, err := Compile(res, goldenTarget(g.target, len(g.maps)))
			if err != nil {
				t.Fatalf("%s: %v", g.name, err)
			}
			fmt.Fprintf(&out, "# %s\n", g.name)
			out.WriteString(listing(arch, code))
		}
		name := filepath.Join("testdata", arch+".golden")
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(name, out.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, name, string(want), out.String())
	}
}

// diff tells the first line that differs.
func diff(t *testing.T, name, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	title := ""
	for i := range min(len(w), len(g)) {
		if strings.HasPrefix(w[i], "#") {
			title = w[i]
		}
		if w[i] != g[i] {
			t.Errorf("%s:%d: %s:\n%s\nnot\n%s", name, i+1, title, g[i], w[i])
			return
		}
	}
	if len(w) != len(g) {
		t.Errorf("%s: %d lines, not %d", name, len(g), len(w))
	}
}

// listing is code as text, each instruction with its bytes, and what it says
// of itself.
func listing(arch string, c *Code) string {
	var out strings.Builder
	fmt.Fprintf(&out, "clobbers %s, reads %s, writes %s, flags %v, locals %d, stack %d\n",
		wordNames(arch, c.Clobbers), wordNames(arch, c.Reads), wordNames(arch, c.Writes), c.Flags, c.Locals, c.Stack)
	for at := 0; at < len(c.Bytes); {
		text, n := disassemble(arch, c.Bytes[at:], goldenBase+uint64(at))
		fmt.Fprintf(&out, "%4x  %-30x %s\n", at, c.Bytes[at:at+n], text)
		at += n
	}
	return out.String()
}

func disassemble(arch string, code []byte, pc uint64) (string, int) {
	if arch == "arm64" {
		in, err := arm64asm.Decode(code)
		if err != nil {
			return fmt.Sprintf("%08x?", binary.LittleEndian.Uint32(code)), 4
		}
		return arm64asm.GNUSyntax(in), 4
	}
	for _, rdpid := range [][]byte{{0xf3, 0x0f, 0xc7}, {0xf3, 0x41, 0x0f, 0xc7}} { // x86asm does not know it
		if bytes.HasPrefix(code, rdpid) {
			return "rdpid", len(rdpid) + 1
		}
	}
	in, err := x86asm.Decode(code, 64)
	if err != nil {
		return err.Error(), 1
	}
	return x86asm.IntelSyntax(in, pc, nil), in.Len
}

var names = map[string][]string{
	"amd64": {"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
		"orig_rax", "rip", "cs", "eflags", "rsp", "ss"},
	"arm64": {31: "sp", 32: "pc", 33: "pstate"},
}

func wordNames(arch string, w Words) string {
	var list []string
	for i := range FrameWords {
		switch {
		case !w.Has(i):
		case i == FrameCookie:
			list = append(list, "cookie")
		case i == FrameFuncIP:
			list = append(list, "funcip")
		case i < len(names[arch]) && names[arch][i] != "":
			list = append(list, names[arch][i])
		default:
			list = append(list, fmt.Sprintf("x%d", i))
		}
	}
	if list == nil {
		return "-"
	}
	return strings.Join(list, " ")
}

// goldens are the programs: one for each form of each operation, then some
// whole ones.
func goldens() (list []golden) {
	list = append(list, aluGoldens()...)
	list = append(list, jumpGoldens()...)
	list = append(list, memoryGoldens()...)
	list = append(list, atomicGoldens()...)
	list = append(list, callGoldens()...)
	return append(list, handlerGoldens()...)
}

// opaque makes registers unknown to the compiler, and what is done to dst
// needed: a program of one instruction between.
func opaque(name string, in ...insn) golden {
	return golden{name: name, target: Target{Result: true},
		insns: list(ldx(program.SizeDW, 2, 1, 0), ldx(program.SizeDW, 0, 1, 8), in, exit())}
}

func aluGoldens() (l []golden) {
	fns := map[uint8]string{0: "add", 0x10: "sub", 0x20: "mul", 0x30: "div", 0x40: "or", 0x50: "and", 0x60: "lsh", 0x70: "rsh",
		0x80: "neg", 0x90: "mod", 0xa0: "xor", 0xb0: "mov", 0xc0: "arsh", 0xd0: "end"}
	for _, form := range aluForms() {
		fn := form.Op & program.OpMask
		bits := map[uint8]string{program.ClassAlu: "32", program.ClassAlu64: "64"}[form.Class()]
		name := fmt.Sprintf("%s%s off %d", fns[fn], bits, form.Off)
		switch {
		case fn == program.AluEnd:
			l = append(l, opaque(fmt.Sprintf("%s %d %d", name, form.Op&program.SrcMask, form.Imm), form))
		case fn == program.AluNeg:
			l = append(l, opaque(name, form))
		case form.Op&program.SrcMask == program.SrcX:
			form.Src = 2
			l = append(l, opaque(name+" r0 r2", form))
		default:
			for _, imm := range []int32{7, -1, 4096, 0x12345678} {
				form.Imm = imm
				l = append(l, opaque(fmt.Sprintf("%s r0 %#x", name, imm), form))
			}
		}
	}
	for _, v := range []uint64{0, 1 << 40, 0xffff1234ffffffff, 0xf0f0f0f0f0f0f0f0, 0x123456789abcdef0} {
		l = append(l, golden{name: fmt.Sprintf("load %#x", v), insns: list(load64(0, v), exit()), target: Target{Result: true}})
	}
	return l
}

func jumpGoldens() (l []golden) {
	for _, class := range []uint8{program.ClassJmp, program.ClassJmp32} {
		for _, fn := range jumpFns {
			name := fmt.Sprintf("jump class %d fn %#x", class, fn)
			l = append(l, opaque(name+" r0 r2", jump(class, fn, 0, 2, 1), movK(0, 1)))
			for _, imm := range []int32{0, 4, -5, 0x12345678} {
				l = append(l, opaque(fmt.Sprintf("%s r0 %d", name, imm), jumpK(class, fn, 0, imm, 1), movK(0, 1)))
			}
		}
	}
	return append(l, operandGoldens()...)
}

// operandGoldens have what was loaded needed by the next instruction only, and flags
// of what was computed.
func operandGoldens() []golden {
	add, sub := uint8(program.AluAdd), uint8(program.AluSub)
	return []golden{
		opaque("jump by memory, imm", ldx(program.SizeDW, 3, 2, 8), jumpK(program.ClassJmp, program.JmpGt, 3, 5, 1), movK(0, 1)),
		opaque("jump by memory, 32 bits", ldx(program.SizeW, 3, 2, 8), jumpK(program.ClassJmp32, program.JmpSet, 3, 5, 1), movK(0, 1)),
		opaque("jump by memory and a register", ldx(program.SizeDW, 3, 2, 8), jump(program.ClassJmp, program.JmpLt, 3, 0, 1), movK(0, 1)),
		opaque("jump by a register and memory", ldx(program.SizeDW, 3, 2, 8), jump(program.ClassJmp, program.JmpLt, 0, 3, 1), movK(0, 1)),
		opaque("jump by memory, too short", ldx(program.SizeW, 3, 2, 8), jump(program.ClassJmp, program.JmpLt, 0, 3, 1), movK(0, 1)),
		opaque("jump by memory that is needed", ldx(program.SizeDW, 3, 2, 8), jump(program.ClassJmp, program.JmpLt, 0, 3, 1), mov(0, 3)),
		opaque("sum with memory", ldx(program.SizeDW, 3, 2, 8), alu(program.ClassAlu64, add, 0, 3)),
		opaque("jump by a difference's sign", alu(program.ClassAlu64, sub, 0, 2), jumpK(program.ClassJmp, program.JmpSlt, 0, 0, 1), movK(0, 1)),
	}
}

func memoryGoldens() (l []golden) {
	for _, size := range []uint8{program.SizeB, program.SizeH, program.SizeW, program.SizeDW} {
		n := sizes[size]
		l = append(l,
			opaque(fmt.Sprintf("load %d", n), ldx(size, 0, 2, 8)), opaque(fmt.Sprintf("load %d far off", n), ldx(size, 0, 2, 32001)),
			opaque(fmt.Sprintf("store %d", n), stx(size, 2, 0, -8)), opaque(fmt.Sprintf("store %d imm", n), st(size, 2, 8, -2)),
			opaque(fmt.Sprintf("acquire %d", n), atomic(size, 0, 2, 8, program.AtomicLoad)),
			opaque(fmt.Sprintf("release %d", n), atomic(size, 2, 0, 8, program.AtomicStore)))
		if n < 8 {
			l = append(l, opaque(fmt.Sprintf("load %d signed", n), ldxs(size, 0, 2, 8)))
		}
	}
	near := golden{name: "map value", insns: list(loadValue(1, 0, 8), ldx(program.SizeW, 0, 1, 4), stx(program.SizeDW, 1, 0, 8), mov(0, 1), exit()),
		maps: oneValue, target: Target{Result: true}}
	end := near
	end.name, end.target.Maps = "map value at the end of a large region", []Map{{Data: 3 << 30}}
	far := near
	far.name, far.target.Region = "map value out of reach", 0x7000_0000_0000
	return append(l, near, end, far,
		golden{name: "stack", target: Target{Result: true, Called: true}, insns: list(ldx(program.SizeDW, 2, 1, 0), stx(program.SizeDW, 10, 2, -16), ldx(program.SizeW, 0, 10, -12), exit())},
		golden{name: "stack address", target: Target{Result: true}, insns: list(mov(0, 10), addK(0, -8), exit())},
		golden{name: "context", target: Target{Result: true}, insns: list(ldx(program.SizeW, 0, 1, 72), movK(2, 1), ldx(program.SizeH, 2, 1, 40), alu(program.ClassAlu64, program.AluAdd, 0, 2), exit())},
		golden{name: "context of changed registers", target: Target{Result: true}, insns: list(mov(6, 1), movK(0, 5), ldx(program.SizeDW, 2, 6, 80), ldx(program.SizeDW, 3, 6, 56), alu(program.ClassAlu64, program.AluAdd, 0, 2), alu(program.ClassAlu64, program.AluAdd, 0, 3), exit())},
		golden{name: "context changed", insns: list(st(program.SizeDW, 1, 80, 5), exit())},
	)
}

func atomicGoldens() (l []golden) {
	fns := []struct {
		name string
		fn   int32
	}{
		{"add", 0}, {"or", program.AluOr}, {"and", program.AluAnd}, {"xor", program.AluXor}, {"fetch add", 1},
		{"fetch or", program.AluOr | 1}, {"fetch and", program.AluAnd | 1}, {"fetch xor", program.AluXor | 1},
		{"xchg", program.AtomicXchg}, {"cmpxchg", program.AtomicCmpXchg},
	}
	for _, f := range fns {
		for _, size := range []uint8{program.SizeW, program.SizeDW} {
			for _, features := range []Feature{0, LSE} {
				g := opaque(fmt.Sprintf("%s %d features %d", f.name, sizes[size], features), ldx(program.SizeDW, 3, 1, 24), atomic(size, 2, 3, 0, f.fn),
					alu(program.ClassAlu64, program.AluAdd, 0, 3))
				g.target.Features = features
				l = append(l, g)
			}
		}
	}
	return append(l, opaque("add 1", movK(3, 1), atomic(program.SizeDW, 2, 3, 8, 0)))
}

func callGoldens() []golden {
	perCPU := []program.Map{{Name: "p", Type: program.PerCPUArray, KeySize: 4, ValueSize: 24, MaxEntries: 5}}
	features := Target{Result: true, Features: RDPID, RSeq: -32}
	tested := func(known bool) []insn {
		return list(keyed(known, 2), jumpK(program.ClassJmp, program.JmpEq, 0, 0, 1), ldx(program.SizeDW, 0, 0, 0), movK(0, 0), exit())
	}
	function := list(movK(1, 5), callFunc(1), exit(), mov(6, 1), call(program.FnKtimeGetNS), alu(program.ClassAlu64, program.AluAdd, 0, 6), exit())
	return []golden{
		{name: "helper", target: Target{Result: true}, insns: list(movK(1, 5), call(program.FnKtimeGetNS), exit())},
		{name: "helper out of reach", target: Target{Result: true, Called: true, Helpers: map[Helper]arch.Addr{{Num: program.FnKtimeGetNS, Map: NoMap}: 0x7000_0000_1000}}, insns: list(call(program.FnKtimeGetNS), exit())},
		{name: "function", target: Target{Result: true}, insns: function, funcs: []int{3}},
		{name: "function, called", target: Target{Result: true, Called: true}, insns: function, funcs: []int{3}},
		{name: "loop", target: Target{Result: true}, funcs: []int{8}, insns: list(movK(1, 9), loadFunc(2, 6), movK(3, 0), movK(4, 0), call(program.FnLoop), movK(0, 0), exit(), mov(0, 1), exit())},
		{name: "cpu", target: Target{Result: true, RSeq: 64}, insns: list(call(program.FnSMPProcessorID), exit())},
		{name: "cpu, features", target: features, insns: list(call(program.FnSMPProcessorID), exit())},
		{name: "fetch add, old value not needed", insns: list(loadValue(1, 0, 0), ldx(program.SizeDW, 2, 10, -8), movK(2, 1), atomic(program.SizeDW, 1, 2, 0, 1), exit()), maps: counters},
		{name: "cookie", target: Target{Result: true}, insns: list(call(program.FnGetAttachCookie), exit())},
		{name: "lookup", target: Target{Result: true}, maps: array, insns: tested(false)},
		{name: "lookup, result kept", target: Target{Result: true}, maps: array, insns: list(keyed(false, 0), exit())},
		{name: "lookup of a constant", target: Target{Result: true}, maps: array, insns: list(keyed(true, 2), exit())},
		{name: "lookup of a constant out of range", target: Target{Result: true}, maps: array, insns: list(keyed(true, 5), exit())},
		{name: "per-CPU lookup", target: features, maps: perCPU, insns: list(keyed(false, 0), exit())},
		{name: "per-CPU lookup of a constant", target: features, maps: perCPU, insns: list(keyed(true, 2), exit())},
	}
}
