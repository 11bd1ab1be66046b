package symbols

import (
	"fmt"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

// ExitKind says how control leaves a function.
type ExitKind uint8

// The kinds of exits.
const (
	Return       ExitKind = iota // a return instruction
	TailJump                     // a jump to another function
	TailBranch                   // a conditional jump to another function: an exit when taken
	TailIndirect                 // a jump through register or memory: an exit when it leads out
)

func (k ExitKind) String() string {
	return [...]string{"return", "tail jump", "tail branch", "tail indirect"}[k&3]
}

// Exit is an instruction by which a function can end.
type Exit struct {
	Addr arch.Addr
	Kind ExitKind
}

// Range is a part of a file's code.
type Range struct{ Start, End arch.Addr }

// Contains reports whether a lies in r.
func (r Range) Contains(a arch.Addr) bool { return a >= r.Start && a < r.End }

func contains(list []Range, a arch.Addr) bool {
	for _, r := range list {
		if r.Contains(a) {
			return true
		}
	}
	return false
}

// maxFunction is the largest function that is disassembled: for each of its instructions
// some 60 bytes are kept.
const maxFunction = 4 << 20

// code is a function's disassembled instructions.
type code []instruction

type instruction struct {
	addr arch.Addr
	arch.Inst
}

// Exits finds the instructions by which fn, its cold parts included, ends:
// returns and jumps out of it. A jump through a register is listed whatever
// it does, as is a jump table's: only at a hit is its target known.
func (f *File) Exits(isa arch.ISA, fn Function) ([]Exit, error) {
	parts, err := f.Parts(isa, fn)
	if err != nil {
		return nil, err
	}
	var exits []Exit
	for _, part := range parts {
		list, err := f.disassemble(isa, part)
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			if kind, ok := i.exit(parts); ok {
				exits = append(exits, Exit{i.addr, kind})
			}
		}
	}
	return exits, nil
}

// exit tells whether and how i leaves the ranges.
func (i instruction) exit(own []Range) (ExitKind, bool) {
	switch i.Kind {
	case arch.KindReturn:
		return Return, true
	case arch.KindJumpIndirect:
		return TailIndirect, true
	case arch.KindJump:
		return TailJump, !contains(own, i.Target)
	case arch.KindBranch:
		return TailBranch, !contains(own, i.Target)
	}
	return 0, false
}

// Instructions lists where fn's instructions start, cold parts not included.
func (f *File) Instructions(isa arch.ISA, fn Function) ([]arch.Addr, error) {
	list, err := f.disassemble(isa, Range{fn.Addr, fn.End()})
	if err != nil {
		return nil, err
	}
	addrs := make([]arch.Addr, len(list))
	for n, i := range list {
		addrs[n] = i.addr
	}
	return addrs, nil
}

// disassemble decodes a range from its start. Data between instructions
// (arm64's $d marks aside, nothing tells) is what can't be decoded, or what
// overlaps a branch's target behind an instruction that never goes on.
func (f *File) disassemble(isa arch.ISA, r Range) (code, error) {
	if r.End < r.Start || r.End-r.Start > maxFunction {
		return nil, fmt.Errorf("%s: %w", f.name, failure.Unsupportedf("a function of %d bytes", r.End-r.Start))
	}
	b := make([]byte, r.End-r.Start)
	if err := f.Text(r.Start, b); err != nil {
		return nil, err
	}
	d := sweep{isa: isa, base: r.Start, code: b, targets: map[arch.Addr]bool{}}
	n := 0
	d.run(func(i instruction) {
		n++
		if i.Target != 0 && r.Contains(i.Target) && (i.Kind == arch.KindBranch || i.Kind == arch.KindJump) {
			d.targets[i.Target] = true
		}
	})
	list := make(code, 0, n)
	d.run(func(i instruction) { list = append(list, i) })
	return trim(list, b, r.Start), nil
}

// sweep is linear disassembly that finds its way back after data.
type sweep struct {
	isa     arch.ISA
	base    arch.Addr
	code    []byte
	targets map[arch.Addr]bool // of direct branches, once known
}

// run hands over the instructions. Behind one that never goes on may lie data;
// what is decoded there counts up to the next branch target only if it ends
// there.
func (d *sweep) run(yield func(instruction)) {
	var held []instruction // decoded where nothing is known to lead
	dead := false
	for off := 0; off < len(d.code); {
		at := d.base + arch.Addr(off)
		if d.targets[at] {
			dead = false
			held = d.flush(held, yield)
		}
		in, err := d.isa.Decode(d.code[off:], at)
		if err != nil || in.Len <= 0 || off+in.Len > len(d.code) {
			held, dead = nil, true
			off += max(1, d.isa.MinInst())
			continue
		}
		if dead {
			if t, ok := d.inside(at, in.Len); ok { // a target inside: this was data
				held = nil
				off = int(t - d.base)
				continue
			}
			held = append(held, instruction{at, in})
		} else {
			yield(instruction{at, in})
		}
		switch in.Kind {
		case arch.KindJump, arch.KindJumpIndirect, arch.KindReturn, arch.KindInvalid:
			dead = true
		}
		off += in.Len
	}
	d.flush(held, yield)
}

func (d *sweep) flush(held []instruction, yield func(instruction)) []instruction {
	for _, i := range held {
		yield(i)
	}
	return nil
}

// inside finds a branch target in the middle of n bytes at a.
func (d *sweep) inside(a arch.Addr, n int) (arch.Addr, bool) {
	for i := arch.Addr(1); i < arch.Addr(n); i++ {
		if d.targets[a+i] {
			return a + i, true
		}
	}
	return 0, false
}

// trim takes padding off the end: traps, no-operations and zeros behind the
// last instruction that is more than that.
func trim(list code, b []byte, base arch.Addr) code {
	end := len(list)
	for end > 1 {
		i := list[end-1]
		zero := true
		for _, c := range b[i.addr-base : int(i.addr-base)+i.Len] {
			zero = zero && c == 0
		}
		if !zero && i.Kind != arch.KindNop && i.Kind != arch.KindTrap {
			break
		}
		end--
	}
	// Only what nothing leads to is padding.
	if end < len(list) {
		switch list[end-1].Kind {
		case arch.KindJump, arch.KindJumpIndirect, arch.KindReturn, arch.KindInvalid, arch.KindCall, arch.KindCallIndirect:
		default:
			return list
		}
	}
	return list[:end]
}
