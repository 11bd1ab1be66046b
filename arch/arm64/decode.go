package arm64

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/arch"
)

var (
	errShort     = errors.New("less than one instruction")
	errAlignment = errors.New("address is not a multiple of 4")
)

const instLen = 4

func (isa) MinInst() int { return instLen }
func (isa) MaxInst() int { return instLen }

// trap is brk #0, which gdb plants, too; the kernel delivers every brk of user mode except those of
// uprobes (#5) to the program as TRAP_BRKPT.
const trap = 0xd4200000

func (isa) Trap() []byte { return binary.LittleEndian.AppendUint32(nil, trap) }

func (isa) IsTrap(code []byte) bool {
	return len(code) >= instLen && classify(binary.LittleEndian.Uint32(code)) == formBrk
}

// TrapPC returns pc: after brk, unlike int3, the PC is still at it.
func (isa) TrapPC(pc arch.Addr) arch.Addr { return pc }

// form is a group of instructions with the same layout.
type form uint8

const (
	formOther form = iota
	formNop

	// Direct branches.
	formB       // b
	formBL      // bl
	formCond    // b.cond, bc.cond
	formZero    // cbz, cbnz
	formBit     // tbz, tbnz
	formCompare // cb<cc>, cbb<cc>, cbh<cc> (FEAT_CMPBR)

	// Indirect branches; those with authentication separately.
	formBR
	formBRAuth
	formBLR
	formBLRAuth
	formRet
	formRetAuth   // retaa, retab, retaasppcr
	formRetAuthPC // retaasppc: the label is part of the authenticated data

	// Other instructions that depend on their address.
	formAdr
	formAdrp
	formLoad      // ldr w, ldr x, ldrsw from a literal
	formLoadFP    // ldr s, d, q from a literal
	formPrefetch  // prfm of a literal
	formSignPC    // paciasppc, autiasppc and similar: sign with an address in the code
	formCopyLater // main and epilogue of a memory copy or set, see relocate.go

	formSvc
	formBrk
	formInvalid

	numForms
)

// kinds maps each form to its effect on the flow of control.
var kinds = [numForms]arch.Kind{
	formNop:       arch.KindNop,
	formB:         arch.KindJump,
	formBL:        arch.KindCall,
	formCond:      arch.KindBranch,
	formZero:      arch.KindBranch,
	formBit:       arch.KindBranch,
	formCompare:   arch.KindBranch,
	formBR:        arch.KindJumpIndirect,
	formBRAuth:    arch.KindJumpIndirect,
	formBLR:       arch.KindCallIndirect,
	formBLRAuth:   arch.KindCallIndirect,
	formRet:       arch.KindReturn,
	formRetAuth:   arch.KindReturn,
	formRetAuthPC: arch.KindReturn,
	formSvc:       arch.KindSyscall,
	formBrk:       arch.KindTrap,
	formInvalid:   arch.KindInvalid,
}

// pattern means that a word w with w&mask == bits has a form.
type pattern struct {
	mask, bits uint32
	form       form
}

// patterns are the instructions other than formOther. The first index is bits 28:25 of the word, by
// which the manual divides the instruction set, too. The first matching pattern decides.
var patterns = [16][]pattern{
	0x0: {{0xffff0000, 0x00000000, formInvalid}}, // udf
	0x8: {
		{0x9f000000, 0x10000000, formAdr},
		{0x9f000000, 0x90000000, formAdrp},
	},
	0x9: {{0xffc0001f, 0xf380001f, formSignPC}}, // autiasppc, autibsppc label
	0xa: {
		{0xfc000000, 0x14000000, formB},
		{0xfc000000, 0x94000000, formBL},
		{0xff000000, 0x54000000, formCond},
		{0x7e000000, 0x34000000, formZero},
		{0x7ec00000, 0x74800000, formOther},     // unassigned conditions
		{0x7f00c000, 0x74000000, formCompare},   // cb<cc> of registers
		{0xff008000, 0x74008000, formCompare},   // cbb<cc>, cbh<cc>
		{0x7f004000, 0x75000000, formCompare},   // cb<cc> of a register and a number
		{0xffffffdf, 0xd503201f, formNop},       // nop; yield, which differs by bit 5
		{0xffffffff, 0xd50320df, formNop},       // dgh
		{0xffe0001f, 0xd4000001, formSvc},       // svc #any
		{0xffe0001f, 0xd4200000, formBrk},       // brk #any
		{0xffe0001f, 0xd4000002, formInvalid},   // hvc
		{0xffe0001f, 0xd4000003, formInvalid},   // smc
		{0xffe0001f, 0xd4400000, formInvalid},   // hlt
		{0xffe0001f, 0xd4a00001, formInvalid},   // dcps1
		{0xffe0001e, 0xd4a00002, formInvalid},   // dcps2, dcps3
		{0xffc0001f, 0x5500001f, formRetAuthPC}, // retaasppc, retabsppc label: bits 23:21 are 000, 001
	},
	0xb: {
		{0xfc000000, 0x14000000, formB},
		{0xfc000000, 0x94000000, formBL},
		{0x7e000000, 0x36000000, formBit},
		{0xfffffc1f, 0xd61f0000, formBR},
		{0xfffff81f, 0xd61f081f, formBRAuth}, // braaz, brabz
		{0xfffff800, 0xd71f0800, formBRAuth}, // braa, brab
		{0xfffffc1f, 0xd63f0000, formBLR},
		{0xfffff81f, 0xd63f081f, formBLRAuth}, // blraaz, blrabz
		{0xfffff800, 0xd73f0800, formBLRAuth}, // blraa, blrab
		{0xfffffc1f, 0xd65f0000, formRet},
		{0xfffffbe0, 0xd65f0be0, formRetAuth}, // retaa, retab; retaasppcr, retabsppcr
	},
	0xc: {
		{0xff000000, 0xd8000000, formPrefetch},
		{0x3f000000, 0x18000000, formLoad},
		{0xfbe00c00, 0x19400400, formCopyLater}, // cpyfm
		{0xfbe00c00, 0x19800400, formCopyLater}, // cpyfe
		{0xfbe0cc00, 0x19c04400, formCopyLater}, // setm
		{0xfbe0cc00, 0x19c08400, formCopyLater}, // sete
	},
	0xd: {
		{0xffffdbff, 0xdac183fe, formSignPC}, // pacnbiasppc, pacnbibsppc, paciasppc, pacibsppc
	},
	0xe: {
		{0xff000000, 0xdc000000, formOther}, // unallocated
		{0x3f000000, 0x1c000000, formLoadFP},
		{0xfbe00c00, 0x19400400, formCopyLater}, // cpym
		{0xfbe00c00, 0x19800400, formCopyLater}, // cpye
		{0xfbe0cc00, 0x19c04400, formCopyLater}, // setgm
		{0xfbe0cc00, 0x19c08400, formCopyLater}, // setge
	},
}

// classify returns w's form.
func classify(w uint32) form {
	for _, p := range patterns[w>>25&15] {
		if w&p.mask == p.bits {
			return p.form
		}
	}
	return formOther
}

// targets compute the targets of direct branches, by form.
var targets = [numForms]func(w uint32, at arch.Addr) arch.Addr{
	formB:       target26,
	formBL:      target26,
	formCond:    target19,
	formZero:    target19,
	formBit:     func(w uint32, at arch.Addr) arch.Addr { return at + offset(w, 5, 14)*instLen },
	formCompare: func(w uint32, at arch.Addr) arch.Addr { return at + offset(w, 5, 9)*instLen },
}

func target26(w uint32, at arch.Addr) arch.Addr { return at + offset(w, 0, 26)*instLen }
func target19(w uint32, at arch.Addr) arch.Addr { return at + offset(w, 5, 19)*instLen }

// offset returns the signed number in the n bits of w from bit low up; adding it to an address
// wraps as the CPU's addition does.
func offset(w uint32, low, n uint) arch.Addr {
	return arch.Addr(int64(w>>low) << (64 - n) >> (64 - n))
}

// Decode has a result for every word: an instruction that the tables do not know continues behind
// itself, or raises SIGILL at its place as in a slot.
func (isa) Decode(code []byte, at arch.Addr) (arch.Inst, error) {
	w, err := word(code, at)
	if err != nil {
		return arch.Inst{}, fmt.Errorf("arm64: decode at %v: %w", at, err)
	}
	f := classify(w)
	in := arch.Inst{Len: instLen, Kind: kinds[f]}
	if target := targets[f]; target != nil {
		in.Target = target(w, at)
	}
	return in, nil
}

// word returns the instruction at the start of code.
func word(code []byte, at arch.Addr) (uint32, error) {
	if at%instLen != 0 {
		return 0, errAlignment
	}
	if len(code) < instLen {
		return 0, errShort
	}
	return binary.LittleEndian.Uint32(code), nil
}
