package frames

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"slices"
	"sort"
	"strings"
	"sync"
	"unsafe"

	cfi "github.com/go-delve/delve/pkg/dwarf/frame"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// Where says where a caller's register is.
type Where uint8

// The places there are.
const (
	Unknown Where = iota // nothing tells: the frame is the outermost one
	Same                 // it has not been changed
	AtCFA                // in memory at CFA + Off
	AtReg                // in memory at Reg + Off
	InReg                // in register Reg
)

// Place is where a caller's register is.
type Place struct {
	Where Where
	Reg   uint8 // DWARF number
	Off   int64
}

// Row is how to find a caller's frame from an instruction: the CFA, which is the
// stack pointer before the call, the return address, and the frame pointer.
type Row struct {
	Reg    uint8 // CFA = Reg + Off, by DWARF number
	Off    int64
	Deref  bool // the CFA is what lies there
	PLT    bool // Off is 8 more behind the push of an entry of the procedure linkage table
	Return Place
	FP     Place
	Signal bool // the caller was interrupted: its PC is exact, not behind a call
}

// DWARF's numbers of registers, by machine: frame pointer, stack pointer.
var dwarfFP = map[elf.Machine]uint64{elf.EM_X86_64: 6, elf.EM_AARCH64: 29}

// rows are those that were asked for.
type rows struct {
	mu   sync.RWMutex
	list map[arch.Addr]*Row // nil: there is none
	// starts are of files without an index of their FDEs, static ones above
	// all: by address.
	once   sync.Once
	starts []fdeStart
}

// fdeStart is where a function starts, and its FDE.
type fdeStart struct{ start, fde uint64 }

// fde is the last function that starts at a or before it, and its FDE.
func (r *rows) fde(o *elffile.Object, a uint64) (start, fde uint64, ok bool) {
	r.once.Do(func() { r.starts = readFDEs(o) })
	i := sort.Search(len(r.starts), func(i int) bool { return r.starts[i].start > a })
	if i == 0 {
		return 0, 0, false
	}
	return r.starts[i-1].start, r.starts[i-1].fde, true
}

// readFDEs goes through .eh_frame. What gives its start in another way than
// relative to itself, in 4 bytes, as compilers do for programs, is left out.
func readFDEs(o *elffile.Object) (list []fdeStart) {
	s, ok := o.Section(".eh_frame")
	if !ok {
		return nil
	}
	b, err := o.Data(s)
	if err != nil {
		return nil
	}
	relative := map[int]bool{} // CIEs that are so, fewer than there are object files
	for at := 0; at+8 <= len(b); {
		n := int(binary.LittleEndian.Uint32(b[at:]))
		if n == 0 || n < 4 || n > maxFDE || at+4+n > len(b) {
			break
		}
		body := b[at+4 : at+4+n]
		switch id := int(binary.LittleEndian.Uint32(body)); {
		case id == 0:
			if enc, _ := pointerEncoding(body); enc == encPCRel|encSdata4 && len(relative) < maxCIEs {
				relative[at] = true
			}
		case relative[at+4-id] && len(body) >= 8:
			field := s.Addr + uint64(at) + 8
			list = append(list, fdeStart{field + uint64(int64(int32(binary.LittleEndian.Uint32(body[4:])))), s.Addr + uint64(at)})
		}
		at += 4 + n
	}
	if o.Budget.Keep(uint64(len(list))*uint64(unsafe.Sizeof(fdeStart{}))) != nil {
		return nil
	}
	slices.SortFunc(list, func(a, b fdeStart) int { return cmp.Compare(a.start, b.start) })
	return list
}

// maxCIEs is how many are remembered of a file.
const maxCIEs = 1 << 16

// maxRows bounds them, for each file.
const maxRows = 1 << 16

// Unwind tells how to find the caller's frame at an instruction, by the call
// frame information that is loaded with the program. Files without it, Go's, and
// code without rules give false: there frame pointers have to do.
func (fs *Table) Unwind(vaddr arch.Addr) (Row, bool) {
	fs.rows.mu.RLock()
	r, known := fs.rows.list[vaddr]
	fs.rows.mu.RUnlock()
	if !known {
		r = fs.row(uint64(vaddr))
		fs.rows.mu.Lock()
		if fs.rows.list == nil || len(fs.rows.list) >= maxRows {
			fs.rows.list = map[arch.Addr]*Row{}
		}
		fs.rows.list[vaddr] = r
		fs.rows.mu.Unlock()
	}
	if r == nil {
		return Row{}, false
	}
	return *r, true
}

// row works a row out. The library that does it is not made for damaged files.
func (fs *Table) row(vaddr uint64) (r *Row) {
	defer func() {
		if recover() != nil {
			r = nil
		}
	}()
	cie, fde, start, ok := fs.raw(vaddr)
	if !ok {
		return nil
	}
	for _, code := range [][]byte{instructions(cie, cie), instructions(fde, cie)} {
		if !modest(code) {
			return nil
		}
		if fs.o.Machine == elf.EM_AARCH64 {
			unsigned(code)
		}
	}
	// The two alone, one behind the other, are a section to the library. It
	// takes the start, which is relative to where they lie, for another.
	section := binary.LittleEndian.AppendUint32(nil, uint32(len(cie)))
	section = append(section, cie...)
	at := len(section)
	section = binary.LittleEndian.AppendUint32(section, uint32(len(fde)))
	section = binary.LittleEndian.AppendUint32(section, uint32(at+4))
	section = append(section, fde[4:]...)
	list, err := cfi.Parse(section, binary.LittleEndian, 0, 8, 1)
	if err != nil || len(list) != 1 {
		return nil
	}
	list[0].Translate(start - list[0].Begin())
	if !list[0].Cover(vaddr) {
		return nil
	}
	ctx, err := list[0].EstablishFrame(vaddr)
	if err != nil {
		return nil
	}
	return rowOf(ctx, dwarfFP[fs.o.Machine], strings.Contains(list[0].CIE.Augmentation, "S"))
}

// raw is the FDE that covers an address, and its CIE.
func (fs *Table) raw(a uint64) (cie, fde []byte, start uint64, ok bool) {
	start, at, ok := fs.index(a)
	if len(fs.entries) == 0 {
		start, at, ok = fs.rows.fde(fs.o, a)
	}
	if !ok {
		return nil, nil, 0, false
	}
	if fde, ok = fs.record(at); !ok {
		return nil, nil, 0, false
	}
	cie, ok = fs.record(at + 4 - uint64(binary.LittleEndian.Uint32(fde)))
	return cie, fde, start, ok
}

// rowOf is a row as it is kept, nil if it is of a kind that is not known.
func rowOf(ctx *cfi.FrameContext, fp uint64, signal bool) *Row {
	r := &Row{Signal: signal}
	switch ctx.CFA.Rule {
	case cfi.RuleCFA:
		r.Reg, r.Off = uint8(ctx.CFA.Reg), ctx.CFA.Offset
	case cfi.RuleExpression:
		if !r.expression(ctx.CFA.Expression) {
			return nil
		}
	default:
		return nil
	}
	var ok bool
	rule, told := ctx.Regs[ctx.RetAddrReg]
	if !told { // it is where the call has left it
		rule = cfi.DWRule{Rule: cfi.RuleSameVal}
	}
	if r.Return, ok = place(rule, ctx.RetAddrReg); !ok {
		return nil
	}
	rule, told = ctx.Regs[fp]
	if !told {
		rule = cfi.DWRule{Rule: cfi.RuleSameVal}
	}
	if r.FP, ok = place(rule, fp); !ok {
		return nil
	}
	return r
}

// place is where a register is by a rule.
func place(rule cfi.DWRule, reg uint64) (Place, bool) {
	switch rule.Rule {
	case cfi.RuleUndefined:
		return Place{}, true
	case cfi.RuleSameVal:
		return Place{Where: Same, Reg: uint8(reg)}, true
	case cfi.RuleOffset:
		return Place{Where: AtCFA, Off: rule.Offset}, true
	case cfi.RuleRegister:
		return Place{Where: InReg, Reg: uint8(rule.Reg)}, true
	case cfi.RuleExpression:
		base, off, rest, ok := based(rule.Expression)
		return Place{Where: AtReg, Reg: base, Off: off}, ok && len(rest) == 0
	}
	return Place{}, false
}

// Operations of DWARF expressions.
const (
	opDeref = 0x06
	opBreg0 = 0x70
	opBregN = 0x8f
)

// pltRule is what linkers say of the procedure linkage table's entries: rsp + 8,
// and 8 more from their eleventh byte on.
var pltRule = []byte{0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22}

// expression reads the few expressions that CFAs are told by.
func (r *Row) expression(e []byte) (ok bool) {
	if bytes.Equal(e, pltRule) {
		r.Reg, r.Off, r.PLT = 7, 8, true
		return true
	}
	var rest []byte
	if r.Reg, r.Off, rest, ok = based(e); !ok {
		return false
	}
	r.Deref = len(rest) == 1 && rest[0] == opDeref
	return r.Deref || len(rest) == 0
}

// based reads a register and an offset.
func based(e []byte) (reg uint8, off int64, rest []byte, ok bool) {
	if len(e) < 2 || e[0] < opBreg0 || e[0] > opBregN {
		return 0, 0, nil, false
	}
	reg, e = e[0]-opBreg0, e[1:]
	for shift := 0; len(e) > 0 && shift < 63; shift += 7 {
		b := e[0]
		e = e[1:]
		off |= int64(b&0x7f) << shift
		if b&0x80 == 0 {
			if b&0x40 != 0 {
				off |= -1 << (shift + 7)
			}
			return reg, off, e, true
		}
	}
	return 0, 0, nil, false
}
