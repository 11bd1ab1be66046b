package builtin

import (
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Layout of the value of map "hist", a per-CPU array of 1. The extremes are stored so that both
// grow from 0: the largest value, and the complement of the smallest; for signed numbers with the
// sign bit inverted.
const (
	histSum    = 0
	histMax    = 8
	histNotMin = 16
	histUnder  = 24 // values below the first bucket
	histOver   = 32 // values above the last
	histFaults = 40 // values that could not be read
	histFirst  = 64 // the buckets, 8 bytes each
)

// log2Buckets: bucket 0 counts the value 0, bucket i the values from 1<<(i-1) to 1<<i - 1. Negative
// values count as below.
const log2Buckets = 65

// maxBuckets limits linear histograms: the kernel allows a per-CPU value at most 32 KiB.
const maxBuckets = 4000

const signBit = -1 << 63

// Scale says how a histogram divides values into buckets: by powers of two if Step is 0, otherwise
// Count buckets from Lo on, each Step wide.
type Scale struct {
	Lo    int64
	Step  uint64
	Count int
}

// Linear returns the scale from lo to hi in steps; the last bucket may reach beyond hi. Errors wrap
// ErrParams.
func Linear(lo, hi int64, step uint64) (Scale, error) {
	if step == 0 || hi <= lo {
		return Scale{}, fmt.Errorf("%w: a scale from %d to %d by %d has no buckets", ErrParams, lo, hi, step)
	}
	n := (uint64(hi) - uint64(lo) - 1) / step
	if n >= maxBuckets {
		return Scale{}, fmt.Errorf("%w: a scale from %d to %d by %d has more than %d buckets", ErrParams, lo, hi, step, maxBuckets)
	}
	return Scale{lo, step, int(n) + 1}, nil
}

func (s Scale) buckets() int {
	if s.Step == 0 {
		return log2Buckets
	}
	return s.Count
}

// Hist makes a histogram of a number. Map "hist", per-CPU array of 1: sum, largest, complement of
// the smallest, below, above, not readable (8 bytes each), and the buckets from byte 64 on. Cost: a
// lookup, 2 additions to words of the CPU's own, about 45 instructions more for powers of two, a
// division for steps.
func Hist(ctx program.Context, at build.Point, e *filter.Expr, s Scale) (*build.Handler, error) {
	if err := checkPoint(at, e); err != nil {
		return nil, err
	}
	b := build.New("hist", ctx)
	h := newHist(b, s, e.Signed())
	v, fault, end := b.Var(), b.NewLabel(), b.NewLabel()
	e.Emit(b, v, fault)
	h.add(b, v)
	if e.Reads() {
		b.Jump(end)
		b.Here(fault)
		b.Index(h.m, 0)
		b.Inc(build.At(build.R0, histFaults))
		b.Here(end)
	}
	label := e.Text()
	return finish(b, at, func(src build.Source) (build.Result, error) {
		return ReadHist(src, label, "", s, e.Signed())
	})
}

// hist is the state of a histogram during the build of a program.
type hist struct {
	m      build.Map
	scale  Scale
	signed bool
}

func newHist(b *build.Builder, s Scale, signed bool) hist {
	return hist{b.Map(program.Map{
		Name: "hist", Type: program.PerCPUArray, KeySize: 4,
		ValueSize: uint32(histFirst + 8*s.buckets()), MaxEntries: 1,
	}), s, signed}
}

// add adds the value in v, one of R7 to R9. It clobbers R0 to R5.
func (h hist) add(b *build.Builder, v build.Reg) {
	p := b.Var()
	b.Index(h.m, 0)
	b.Move(p, build.R0)
	b.AddTo(build.At(p, histSum), v)
	b.Move(build.R1, v)
	if h.signed {
		b.Const(build.R2, signBit)
		b.Add(asm.Xor.Reg(build.R1, build.R2))
	}
	b.Max(build.At(p, histMax), build.R1)
	b.Add(asm.Xor.Imm(build.R1, -1))
	b.Max(build.At(p, histNotMin), build.R1)

	end := b.NewLabel()
	if h.scale.Step == 0 {
		h.log2(b, v, p, end)
	} else {
		h.linear(b, v, p, end)
	}
	// R1 is the bucket, within known bounds.
	b.Add(asm.LSh.Imm(build.R1, 3), asm.Add.Reg(p, build.R1))
	b.Inc(build.At(p, histFirst))
	b.Here(end)
	b.Free(p)
}

// outside counts a value outside the buckets, if c holds.
func outside(b *build.Builder, c build.Cond, p build.Reg, off int, end build.Label) {
	b.If(c, func() {
		b.Inc(build.At(p, off))
		b.Jump(end)
	})
}

// log2 computes the bit length of v into R1, 0 to 64, without a branch: verifiers follow a single
// path, and the CPU mispredicts nothing.
func (h hist) log2(b *build.Builder, v, p build.Reg, end build.Label) {
	if h.signed {
		outside(b, build.SLt(v, 0), p, histUnder, end)
	}
	n, rest, t := build.R1, build.R2, build.R3
	b.Move(rest, v)
	b.Move(n, v) // 1 for all values except 0: the sign bit of v | -v
	b.Add(asm.Neg.Imm(n, 0), asm.Or.Reg(n, v), asm.RSh.Imm(n, 63))
	for shift := int32(32); shift > 0; shift /= 2 {
		// t = shift if rest has bits above, else 0: the sign bit of -(rest >> shift).
		b.Move(t, rest)
		b.Add(asm.RSh.Imm(t, shift), asm.Neg.Imm(t, 0), asm.RSh.Imm(t, 63))
		if shift > 1 {
			b.Add(asm.LSh.Imm(t, int32(bits.TrailingZeros32(uint32(shift)))))
			b.Add(asm.RSh.Reg(rest, t))
		}
		b.Add(asm.Add.Reg(n, t))
	}
}

// linear computes the bucket of v into R1.
func (h hist) linear(b *build.Builder, v, p build.Reg, end build.Label) {
	under := build.Lt(v, h.scale.Lo)
	if h.signed {
		under = build.SLt(v, h.scale.Lo)
	}
	if h.signed || h.scale.Lo != 0 {
		outside(b, under, p, histUnder, end)
	}
	b.Move(build.R1, v)
	b.Const(build.R2, h.scale.Lo)
	b.Add(asm.Sub.Reg(build.R1, build.R2))
	if step := h.scale.Step; step&(step-1) == 0 {
		b.Add(asm.RSh.Imm(build.R1, int32(bits.TrailingZeros64(step))))
	} else {
		b.Const(build.R2, int64(step))
		b.Add(asm.Div.Reg(build.R1, build.R2))
	}
	// Verifiers know nothing of a quotient; the comparison gives its bound.
	b.If(build.Ge(build.R1, int64(h.scale.Count)), func() {
		b.Inc(build.At(p, histOver))
		b.Jump(end)
	})
}
