package compile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/native"
)

// whole is a map of one value with room for each word of a context.
var whole = []program.Map{{Name: "regs", Type: program.Array, KeySize: 4, ValueSize: 8 * uint32(len(arch.Regs{})), MaxEntries: 1}}

// contextReads are ways in which a program reads words of its context: each stores
// word w at 8*w of the map's value. They differ in what the compiled code changes
// before, between and behind the reads.
var contextReads = map[string]func(words []int) []insn{
	"at once": func(words []int) []insn { // the value's address needs a register, the word another
		var code []insn
		for _, w := range words {
			code = list(code, ldx(program.SizeDW, 3, 1, int16(8*w)), loadValue(2, 0, 0), stx(program.SizeDW, 2, 3, int16(8*w)))
		}
		return list(code, movK(0, 0), exit())
	},
	"into r0": func(words []int) []insn {
		var code []insn
		for _, w := range words {
			code = list(code, ldx(program.SizeDW, 0, 1, int16(8*w)), loadValue(2, 0, 0), stx(program.SizeDW, 2, 0, int16(8*w)))
		}
		return list(code, movK(0, 0), exit())
	},
	"all registers changed": func(words []int) []insn {
		return readLate(words, func(r uint8) []insn { return list(loadValue(r, 0, 0), ldx(program.SizeDW, r, r, 8*int16(r))) })
	},
	"flags changed": func(words []int) []insn {
		return readLate(words, func(r uint8) []insn {
			return list(loadValue(r, 0, 0), ldx(program.SizeDW, r, r, 0), aluK(program.ClassAlu64, program.AluAdd, r, 7),
				jumpK(program.ClassJmp, program.JmpEq, r, 1, 1), aluK(program.ClassAlu, program.AluXor, r, 5))
		})
	},
	"shifts": func(words []int) []insn { // amd64 shifts by rcx only
		return readLate(words, func(r uint8) []insn {
			return list(loadValue(r, 0, 0), ldx(program.SizeDW, r, r, 0), alu(program.ClassAlu64, program.AluLsh, r, r))
		})
	},
	"divides": func(words []int) []insn { // amd64 divides rdx:rax only
		return readLate(words, func(r uint8) []insn {
			return list(loadValue(r, 0, 0), ldx(program.SizeDW, r, r, 0), aluK(program.ClassAlu64, program.AluDiv, r, 3))
		})
	},
	"stack": func(words []int) []insn {
		return readLate(words, func(r uint8) []insn {
			return list(mov(r, 10), addK(r, -256), st(program.SizeDW, r, 0, 5), ldx(program.SizeDW, r, r, 0))
		})
	},
	"by pointer": func(words []int) []insn { // it is not known which words it reads
		code := list(loadValue(3, 0, 0), ldx(program.SizeDW, 3, 3, 0), aluK(program.ClassAlu64, program.AluAnd, 3, 0), alu(program.ClassAlu64, program.AluAdd, 1, 3))
		return list(code, contextReads0(words))
	},
}

func contextReads0(words []int) []insn {
	var code []insn
	for _, w := range words {
		code = list(code, ldx(program.SizeDW, 4, 1, int16(8*w)), loadValue(5, 0, 0), stx(program.SizeDW, 5, 4, int16(8*w)))
	}
	return list(code, movK(0, 0), exit())
}

// readLate changes R0 and R2 to R8 by change, then reads through R9.
func readLate(words []int, change func(r uint8) []insn) []insn {
	code := list(mov(9, 1))
	for _, r := range []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8} {
		code = list(code, change(r))
	}
	for _, w := range words { // what was changed is used, or it would be left out
		for _, r := range []uint8{0, 1, 2, 3, 4, 5, 6, 7} {
			code = list(code, alu(program.ClassAlu64, program.AluOr, 8, r))
		}
		code = list(code, ldx(program.SizeDW, 3, 9, int16(8*w)), loadValue(2, 0, 0), stx(program.SizeDW, 2, 3, int16(8*w)))
	}
	return list(code, jumpK(program.ClassJmp, program.JmpEq, 8, 12345, 1), movK(0, 0), movK(0, 0), exit())
}

// noWord are words of a context that inlined code can't have, by instruction set: no
// way in makes them.
var noWord = map[string][]int{"amd64": {15, 17, 18, 20}, "arm64": {33}} // orig_ax, cs, flags, ss; pstate

// TestInlineContext holds what inlined code reads of its context against the registers
// that the thread has: each word by itself and all together, in each way of reading,
// with and without flags to be kept, a red zone, and counters beside it.
func TestInlineContext(t *testing.T) {
	context, err := program.ContextOf(host)
	if err != nil {
		t.Fatal(err)
	}
	none := map[int]bool{}
	for _, w := range noWord[host] {
		none[w] = true
	}
	var lists [][]int
	var all []int
	for w := range context.Size / 8 {
		if native.Foreign(w) { // the way to the code has changed it
			continue
		}
		lists = append(lists, []int{w})
		if !none[w] {
			all = append(all, w)
		}
	}
	lists = append(lists, all)
	r := newRunner(t)
	rnd := rand.New(rand.NewPCG(9, 9))
	for name, read := range contextReads {
		for _, words := range lists {
			if len(words) == 1 && leftOut(4) {
				continue
			}
			for _, way := range []Way{{}, {Flags: true}, {Skip: 128}, {Flags: true, Skip: 128}} {
				way.PC = 0x123456789a
				err := r.readsContext(read(words), words, way, rnd)
				switch {
				case len(words) == 1 && none[words[0]] || name == "by pointer" && errors.Is(err, errors.ErrUnsupported):
					if !errors.Is(err, errors.ErrUnsupported) {
						t.Errorf("%s, word %d: %v, want it refused", name, words[0], err)
					}
				case err != nil:
					t.Errorf("%s, words %d, %+v: %v", name, words, way, err)
				}
			}
		}
	}
}

// readsContext runs code inlined between counters, with random registers.
func (r *runner) readsContext(insns []insn, words []int, way Way, rnd *rand.Rand) error {
	region := r.region()
	clear(region)
	for w := range whole[0].ValueSize / 8 {
		binary.LittleEndian.PutUint64(region[64+8*w:], 0x1111111111111111*uint64(w%15))
	}
	target := r.cpuTarget(r.target(Target{Maps: []Map{{Data: 64, Stride: 8 * len(arch.Regs{}), CPUStride: 1024}}}))
	reader := Part{Result: accepted(host, insns, whole), Target: target, Way: way}
	for i := range reader.Result.Facts { // of all programs here: what r9 is
		if in := insns[i]; in.Op == program.ClassLdx|program.ModeMem|program.SizeDW && (in.Src == 1 || in.Src == 9) {
			reader.Result.Facts[i].Region = verify.Ctx
		}
	}
	counter := Part{Result: accepted(host, countInsns(false), counters), Way: way,
		Target: r.cpuTarget(r.target(Target{Maps: []Map{{Data: 64 << 10, Stride: 8, CPUStride: 1024}}}))}
	parts := []Part{reader}
	for range rnd.IntN(3) {
		parts = append(parts, counter)
	}
	rnd.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	code, err := Inline(parts, target.Base)
	if err != nil {
		return err
	}
	in, out := r.through(code, randomRegs(rnd))
	if !way.Flags {
		out[flagsWord[host]] = in[flagsWord[host]]
	}
	if d := native.Diff(&in, &out); d != "" {
		return errors.New(d)
	}
	in[pcWord[host]] = uint64(way.PC)
	for _, w := range words {
		if got := binary.LittleEndian.Uint64(region[64+8*w:]); got != in[w] {
			return fmt.Errorf("word %d is %#x to the program, the thread has %#x\n% x", w, got, in[w], code[:min(len(code), 200)])
		}
	}
	return nil
}

var pcWord = map[string]int{"amd64": 16, "arm64": 32}
