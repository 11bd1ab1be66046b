package compile

import (
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// The handlers that most probes have, as a compiler of C or the builder makes
// them.

var counters = []program.Map{{Name: "counts", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}}
var perCPUCounters = []program.Map{{Name: "counts", Type: program.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1}}
var slots = []program.Map{{Name: "slots", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 64}}

// countInsns looks up key 0 and adds 1: atomically, or by a load and a store.
func countInsns(plain bool) []insn {
	add := list(movK(1, 1), atomic(program.SizeDW, 0, 1, 0, program.AluAdd))
	if plain {
		add = list(ldx(program.SizeDW, 1, 0, 0), addK(1, 1), stx(program.SizeDW, 0, 1, 0))
	}
	return list(st(program.SizeW, 10, -4, 0), mov(2, 10), addK(2, -4), loadMap(1, 0), call(program.FnMapLookup),
		jumpK(program.ClassJmp, program.JmpEq, 0, 0, int16(len(add))), add, movK(0, 0), exit())
}

// plainFacts are the verifier's of countInsns(true).
func plainFacts(r *verify.Result) {
	for _, i := range []int{7, 9} {
		r.Facts[i] = verify.Fact{Reached: true, Region: verify.MapValue, Fixed: true}
	}
}

// directInsns adds 1 to the value by its address.
func directInsns() []insn {
	return list(loadValue(1, 0, 0), movK(2, 1), atomic(program.SizeDW, 1, 2, 0, program.AluAdd), movK(0, 0), exit())
}

// histInsns counts by the log2 of the context's word w: its highest bit, found
// as the kernel's BPF programs do.
func histInsns(w int) []insn {
	const jmp, lsh = program.ClassJmp, program.AluLsh
	_ = lsh
	code := list(ldx(program.SizeDW, 3, 1, int16(8*w)), movK(2, 0))
	for _, bits := range []int32{32, 16, 8, 4, 2, 1} {
		step := list(mov(4, 3), aluK(program.ClassAlu64, program.AluRsh, 4, bits),
			jumpK(jmp, program.JmpEq, 4, 0, 2), mov(3, 4), addK(2, bits))
		code = list(code, step)
	}
	return list(code, stx(program.SizeW, 10, 2, -4), mov(2, 10), addK(2, -4), loadMap(1, 0), call(program.FnMapLookup),
		jumpK(jmp, program.JmpEq, 0, 0, 2), movK(1, 1), atomic(program.SizeDW, 0, 1, 0, program.AluAdd), movK(0, 0), exit())
}

func handlerGoldens() []golden {
	features := Target{Features: RDPID | LSE, RSeq: -32}
	return []golden{
		{name: "count", maps: counters, insns: countInsns(false)},
		{name: "count, LSE", maps: counters, insns: countInsns(false), target: features},
		{name: "count, out of reach", maps: counters, insns: countInsns(false), target: Target{Region: 0x7000_0000_0000}},
		{name: "count by a direct value", maps: counters, insns: directInsns()},
		{name: "count per CPU", maps: perCPUCounters, insns: countInsns(false), target: features},
		{name: "count per CPU, lsl", maps: perCPUCounters, insns: countInsns(false)},
		{name: "count per CPU, load and store", maps: perCPUCounters, insns: countInsns(true), target: features, facts: plainFacts},
		{name: "hist", maps: slots, insns: histInsns(14)},
	}
}
