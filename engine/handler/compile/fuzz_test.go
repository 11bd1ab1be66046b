package compile

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// FuzzCompile gives the compilers random instructions, most of which no verifier would accept: they
// must not crash, and both instruction sets must agree on what is an instruction.
func FuzzCompile(f *testing.F) {
	for _, g := range goldens() {
		f.Add(encode(g.insns), uint8(0))
	}
	f.Add(encode(countInsns(true)), uint8(3))
	maps := append(append([]program.Map{}, counters...), perCPUCounters...)
	f.Fuzz(func(t *testing.T, raw []byte, start uint8) {
		insns := decode(raw)
		if len(insns) == 0 || len(insns) > 1000 {
			return
		}
		var funcs []int
		if n := int(start); n > 0 && n < len(insns) {
			funcs = append(funcs, n)
		}
		var refused [2]bool
		for i, arch := range archs {
			res := accepted(arch, insns, maps, funcs...)
			for k := range res.Facts {
				res.Facts[k].Region = verify.Region(insns[k].Imm & 3)
				res.Facts[k].Fixed, res.Facts[k].Off = insns[k].Imm&4 != 0, int(insns[k].Off)&127
			}
			_, err := Compile(res, goldenTarget(Target{Called: start&1 != 0, RSeq: 8}, len(maps)))
			refused[i] = err != nil
		}
		if refused[0] != refused[1] {
			t.Errorf("%v and not %v", archs[0], archs[1])
		}
	})
}

func encode(insns []insn) (raw []byte) {
	for _, in := range insns {
		raw = append(raw, in.Op, in.Dst|in.Src<<4)
		raw = binary.LittleEndian.AppendUint16(raw, uint16(in.Off))
		raw = binary.LittleEndian.AppendUint32(raw, uint32(in.Imm))
	}
	return raw
}

func decode(raw []byte) (insns []insn) {
	for ; len(raw) >= 8; raw = raw[8:] {
		insns = append(insns, insn{Op: raw[0], Dst: raw[1] & 15, Src: raw[1] >> 4,
			Off: int16(binary.LittleEndian.Uint16(raw[2:])), Imm: int32(binary.LittleEndian.Uint32(raw[4:]))})
	}
	return insns
}

// FuzzRandom runs random programs as TestRandom does.
func FuzzRandom(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := newRunner(t)
		r.help = aTime
		testRandom(t, r, &generator{Rand: rand.New(rand.NewPCG(a, b))}, a)
	})
}
