package compile

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// Random programs have numbers in R0 to R7, the end of an initialised piece of
// the stack less its size in R8, and a map's value in R9.
const (
	stackPiece = 64
	valuePiece = 64 // of the value that they access; their results are behind it
	firstFree  = 8  // registers that are numbers
)

// generator makes random programs.
type generator struct {
	*rand.Rand
	code  []insn
	facts map[int]verify.Fact
	loop  bool // in a loop with the counter R7
}

func (g *generator) add(in ...insn) { g.code = append(g.code, in...) }

// number is a register that may be set.
func (g *generator) number() uint8 {
	if g.loop {
		return uint8(g.IntN(firstFree - 1))
	}
	return uint8(g.IntN(firstFree))
}

func (g *generator) edge() uint64 {
	if g.IntN(2) == 0 {
		return edges[g.IntN(len(edges))]
	}
	return g.Uint64() >> g.IntN(64)
}

var (
	allForms = aluForms()
	allSizes = []uint8{program.SizeB, program.SizeH, program.SizeW, program.SizeDW}
)

// step adds an instruction or a few.
func (g *generator) step() {
	dst, src := g.number(), uint8(g.IntN(firstFree))
	switch g.IntN(12) {
	case 0:
		g.add(load64(dst, g.edge())...)
	case 1:
		g.add(movK(dst, int32(g.edge())))
	case 2, 3, 4, 5:
		in := allForms[g.IntN(len(allForms))]
		in.Dst = dst
		if in.Op&program.OpMask != program.AluEnd && in.Op&program.OpMask != program.AluNeg {
			if in.Op&program.SrcMask == program.SrcX {
				in.Src = src
			} else {
				in.Imm = int32(g.edge())
			}
		}
		g.add(in)
	case 6, 7:
		g.access(dst, src)
	case 8:
		g.atomic(dst, src)
	case 9:
		g.bump(dst)
	case 10:
		g.add(call(program.FnKtimeGetNS))
		for k := uint8(1); k <= 5; k++ {
			g.add(movK(k, int32(g.edge())))
		}
	case 11:
		if g.IntN(3) == 0 {
			g.lookup(src)
		}
	}
}

// at is a base and an offset of memory that the program has.
func (g *generator) at(size int, aligned bool) (base uint8, off int16) {
	off = int16(g.IntN(stackPiece - size + 1))
	if aligned {
		off &^= int16(size - 1)
	}
	switch g.IntN(3) {
	case 0:
		return 10, off - stackPiece
	case 1:
		return 8, off
	}
	return 9, off
}

// fact notes what the verifier would know of an access that is added next.
func (g *generator) fact(base uint8, off int16) {
	f := verify.Fact{Reached: true, Map: -1, Region: verify.Stack, Fixed: true, Off: int(off)}
	switch base {
	case 9:
		f.Region, f.Map = verify.MapValue, 0
	case 8:
		f.Off -= stackPiece
	}
	g.facts[len(g.code)] = f
}

func (g *generator) access(dst, src uint8) {
	size := allSizes[g.IntN(4)]
	base, off := g.at(sizes[size], false)
	g.fact(base, off)
	switch g.IntN(4) {
	case 0:
		g.add(stx(size, base, src, off))
	case 1:
		g.add(st(size, base, off, int32(g.edge())))
	case 2:
		if size != program.SizeDW {
			g.add(ldxs(size, dst, base, off))
			return
		}
		fallthrough
	default:
		g.add(ldx(size, dst, base, off))
	}
}

var atomicFns = []int32{0, 1, program.AluOr, program.AluOr | 1, program.AluAnd, program.AluAnd | 1, program.AluXor, program.AluXor | 1,
	program.AtomicXchg, program.AtomicCmpXchg, program.AtomicLoad, program.AtomicStore}

func (g *generator) atomic(dst, src uint8) {
	fn, size := atomicFns[g.IntN(len(atomicFns))], allSizes[2+g.IntN(2)]
	base, off := g.at(sizes[size], true)
	if g.loop && src == 7 {
		src = 6 // may be set
	}
	g.fact(base, off)
	if fn == program.AtomicLoad {
		g.add(atomic(size, dst, base, off, fn))
	} else {
		g.add(atomic(size, base, src, off, fn))
	}
}

// bump adds to memory by a load and a store.
func (g *generator) bump(r uint8) {
	size := allSizes[2+g.IntN(2)]
	base, off := g.at(sizes[size], g.IntN(4) > 0)
	g.fact(base, off)
	g.add(ldx(size, r, base, off))
	g.add([]insn{addK(r, int32(g.edge())), aluK(program.ClassAlu, program.AluXor, r, int32(g.edge())), alu(program.ClassAlu64, program.AluAdd, r, uint8(g.IntN(firstFree)))}[g.IntN(3)])
	g.fact(base, off)
	g.add(stx(size, base, r, off))
	if g.IntN(2) == 0 {
		g.add(movK(r, 1))
	}
}

// lookup looks up a key in map 1, in which all values exist, and reads from the value if there is
// one.
func (g *generator) lookup(src uint8) {
	if g.IntN(2) == 0 {
		g.add(st(program.SizeW, 10, -4, int32(g.IntN(7))))
	} else {
		g.add(aluK(program.ClassAlu, program.AluAnd, src, 7), stx(program.SizeW, 10, src, -4))
		if g.loop && src == 7 {
			g.code = g.code[:len(g.code)-2]
			g.add(st(program.SizeW, 10, -4, 3))
		}
	}
	g.add(mov(2, 10), addK(2, -4))
	g.add(loadMap(1, 1)...)
	g.add(call(program.FnMapLookup), jumpK(program.ClassJmp, program.JmpEq, 0, 0, 1), ldx(program.SizeDW, 0, 0, 0))
	for k := uint8(1); k <= 5; k++ {
		g.add(movK(k, int32(k)))
	}
}

// block adds n steps, some of which are jumped over.
func (g *generator) block(n int) {
	for range n {
		if g.IntN(5) > 0 {
			g.step()
			continue
		}
		class := []uint8{program.ClassJmp, program.ClassJmp32}[g.IntN(2)]
		fn := jumpFns[g.IntN(len(jumpFns))]
		in := jump(class, fn, uint8(g.IntN(firstFree)), uint8(g.IntN(firstFree)), 0)
		if g.IntN(2) == 0 {
			in = jumpK(class, fn, uint8(g.IntN(firstFree)), int32(g.edge()), 0)
		}
		at := len(g.code)
		g.add(in)
		g.block(g.IntN(4))
		if g.IntN(3) == 0 { // else
			g.code[at].Off = int16(len(g.code) - at)
			at = len(g.code)
			g.add(goTo(0))
			g.block(g.IntN(3))
		}
		g.code[at].Off = int16(len(g.code) - at - 1)
	}
}

// program makes a whole one.
func (g *generator) program() *verify.Result {
	g.facts = map[int]verify.Fact{}
	for off := int16(-stackPiece); off < 0; off += 8 {
		g.add(st(program.SizeDW, 10, off, int32(off)*0x1234))
	}
	if g.IntN(2) == 0 {
		g.add(loadValue(9, 0, 0)...)
	} else {
		g.add(pointerTo(9)...)
	}
	for k := range uint8(firstFree) {
		if g.IntN(2) == 0 {
			g.add(movK(k, int32(g.edge())))
		} else {
			g.add(ldx(program.SizeDW, k, 9, int16(8*k)))
		}
	}
	g.add(mov(8, 10), addK(8, -stackPiece))
	g.block(2 + g.IntN(15))
	if g.IntN(2) == 0 {
		g.add(movK(7, int32(1+g.IntN(3))))
		head := len(g.code)
		g.loop = true
		g.block(1 + g.IntN(8))
		g.loop = false
		g.add(addK(7, -1))
		g.add(jumpK(program.ClassJmp, program.JmpNe, 7, 0, int16(head-len(g.code)-1)))
		g.block(g.IntN(4))
	}
	// Everything that is left of it goes behind the piece of the value.
	for k := range uint8(firstFree) {
		g.add(stx(program.SizeDW, 9, k, 256+int16(8*k)))
	}
	for off := int16(0); off < stackPiece; off += 8 {
		if g.IntN(2) == 0 {
			g.add(ldx(program.SizeDW, 1, 10, off-stackPiece), stx(program.SizeDW, 9, 1, 512+off))
		}
	}
	g.add(exit())
	maps := []program.Map{{Type: program.Array, KeySize: 4, ValueSize: 1024, MaxEntries: 1}, {Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 5}}
	r := accepted(host, g.code, maps)
	for i, f := range g.facts {
		r.Facts[i] = f
	}
	return r
}

// plain interprets such a program on the value and gives R0.
func plain(p *program.Program, region []byte, base uint64, clock uint64) (uint64, error) {
	var regs [11]uint64
	var stack [program.StackSize]byte
	const stackEnd = 1 << 60
	regs[10] = stackEnd
	memory := func(addr uint64, n int) []byte {
		if addr >= stackEnd-program.StackSize && addr < stackEnd {
			return stack[addr-stackEnd+program.StackSize:][:n]
		}
		return region[addr-base:][:n]
	}
	get := func(addr uint64, n int) uint64 {
		var b [8]byte
		copy(b[:], memory(addr, n))
		return binary.LittleEndian.Uint64(b[:])
	}
	put := func(addr uint64, n int, v uint64) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], v)
		copy(memory(addr, n), b[:n])
	}
	for pc, steps := 0, 0; ; pc++ {
		if steps++; steps > 100000 {
			return 0, fmt.Errorf("does not end")
		}
		in := p.Insns[pc]
		n := in.Size()
		switch {
		case in.Wide():
			regs[in.Dst] = plainWide(in, p.Insns[pc+1].Imm, base)
			pc++
		case in.Class() == program.ClassAlu || in.Class() == program.ClassAlu64:
			regs[in.Dst] = oracle(in, regs[in.Dst], regs[in.Src])
		case in.Class() == program.ClassLdx:
			v := get(regs[in.Src]+uint64(in.Off), n)
			regs[in.Dst] = narrowed(v, n, in.Op&program.ModeMask == program.ModeMemSX)
		case in.Class() == program.ClassSt:
			put(regs[in.Dst]+uint64(in.Off), n, uint64(in.Imm))
		case in.Class() == program.ClassStx && in.Op&program.ModeMask == program.ModeMem:
			put(regs[in.Dst]+uint64(in.Off), n, regs[in.Src])
		case in.Class() == program.ClassStx && in.Imm == program.AtomicLoad:
			regs[in.Dst] = get(regs[in.Src]+uint64(in.Off), n)
		case in.Class() == program.ClassStx:
			addr := regs[in.Dst] + uint64(in.Off)
			put(addr, n, plainAtomic(in, get(addr, n), &regs))
		case in.IsExit():
			return regs[0], nil
		case in.IsCall() && in.Imm == program.FnKtimeGetNS:
			regs[0] = clock
		case in.IsCall():
			key := get(regs[2], 4)
			regs[0] = base + 4096 + 64 + 24*key
			if key >= 5 {
				regs[0] = 0
			}
		case in.Always() || compares(in, regs[in.Dst], regs[in.Src]):
			pc = in.Target(pc) - 1
		}
	}
}

// plainWide is what a load of 64 bits gives.
func plainWide(in insn, high int32, base uint64) uint64 {
	switch in.Src {
	case program.PseudoMapValue:
		return base + 64 + uint64(high)
	case program.PseudoMap:
		return base + 4096*uint64(in.Imm)
	}
	return uint64(uint32(in.Imm)) | uint64(high)<<32
}

// plainAtomic is what an atomic operation leaves in memory.
func plainAtomic(in insn, old uint64, regs *[11]uint64) uint64 {
	n := in.Size()
	src := regs[in.Src]
	if in.Imm&program.AtomicFetch != 0 && in.Imm != program.AtomicCmpXchg {
		regs[in.Src] = old
	}
	switch in.Imm &^ program.AtomicFetch {
	case program.AluAdd:
		return old + src
	case program.AluOr:
		return old | src
	case program.AluAnd:
		return old & src
	case program.AluXor:
		return old ^ src
	case program.AtomicCmpXchg &^ program.AtomicFetch:
		expected := narrowed(regs[0], n, false)
		regs[0] = old
		if expected != old {
			return old
		}
	}
	return src
}

// rounds is how many random programs are tried: PTRACER_RANDOM, or few.
func rounds(t *testing.T, few int) int {
	if n, err := strconv.Atoi(os.Getenv("PTRACER_RANDOM")); err == nil {
		return n
	}
	if runtime.GOARCH == "arm64" {
		return few / 10 // an emulated CPU, as in the arm64 lane
	}
	return few
}

// aTime is what random programs are told by the one helper that they call.
func aTime(int32, [5]uint64) uint64 { return 0x123456789 }

// TestRandom runs random programs, compiled and interpreted.
func TestRandom(t *testing.T) {
	r := newRunner(t)
	r.help = aTime
	for seed := range uint64(rounds(t, 3000)) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 77))}
		testRandom(t, r, g, seed)
		if t.Failed() {
			return
		}
	}
}

func testRandom(t *testing.T, r *runner, g *generator, seed uint64) {
	t.Helper()
	res := g.program()
	target := r.target(Target{Called: g.IntN(2) == 0, Maps: make([]Map, 2), Helpers: r.helpers(program.FnKtimeGetNS)})
	if hasFeatures() && g.IntN(2) == 0 {
		target.Features = RDPID | LSE
	}
	region := r.region()[:8192]
	for i := 0; i < len(region); i += 8 {
		binary.LittleEndian.PutUint64(region[i:], g.edge())
	}
	binary.LittleEndian.PutUint64(region[64+120:], uint64(r.at)+64)
	want := append([]byte(nil), region...)
	r0, err := plain(res.Program, want, uint64(r.at), aTime(0, [5]uint64{}))
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	code := r.load(res, target)
	regs := randomRegs(g.Rand)
	got, _, err := r.run(&regs)
	if err != nil || got != r0 {
		t.Errorf("seed %d: %#x, %v, not %#x", seed, got, err, r0)
	}
	for i := 0; i < len(region); i += 8 {
		if a, b := binary.LittleEndian.Uint64(region[i:]), binary.LittleEndian.Uint64(want[i:]); a != b {
			t.Errorf("seed %d: value at %d is %#x, not %#x", seed, i-64, a, b)
		}
	}
	if t.Failed() {
		for i, in := range res.Program.Insns {
			t.Logf("%3d %+v", i, in)
		}
		t.Log(listing(host, code))
	}
}
