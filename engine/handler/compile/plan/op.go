package plan

import "github.com/ptracer/ptracer/engine/handler/program"

// Kind is the kind of an operation.
type Kind uint8

// Kinds of operations. Dst, Src and so on are Op's fields; an operand is Src, or Imm if Src is
// NoReg.
const (
	Nop       Kind = iota
	Const          // Dst = Imm
	Address        // Dst = address of Mem
	FuncAddr       // Dst = address of the code of function To
	Move           // Dst = Src; 32 bits unless Wide, the upper half 0
	Extend         // Dst = Src's low Size bytes, sign-extended; upper half 0 unless Wide
	Truncate       // Dst = Dst's low Size bytes, upper ones 0
	Swap           // Dst = Dst's low Size bytes in reverse order, upper ones 0
	Negate         // Dst = -Dst
	BitLen         // Dst = the number of Src's bits up to the highest that is set; not the same register
	Alu            // Dst = Dst Fn operand
	Load           // Dst = Mem, Size bytes; Signed extends to 64 bits
	Store          // Mem = operand, Size bytes
	Atomic         // Mem Fn= operand, Size bytes; see Fetch
	LoadAcq        // Load that nothing behind it overtakes
	StoreRel       // Store that overtakes nothing before it
	Jump           // to To if Dst Fn operand
	Goto           // to To
	Call           // helper Imm
	CallFunc       // function To
	Repeat         // bpf_loop with function To, or the one that R2 points to if -1; flags are 0 unless Imm
	Lookup         // R0 = address of the value of map To, 0 if none; see Miss and Key
	CPU            // R0 = number of the CPU
	Thread         // R0 = the thread pointer
	Self           // R0 = the word that it points to
	Goroutine      // R0 = the register that has g in Go's code
	Slot           // R0 = the number of the value that the thread takes of a map with one for each CPU
	Cycles         // R0 = the counter that the time is computed from
	Scale          // R0 = R0 times R5, 128 bits, shifted right by Imm
	Syscall        // R0 = system call Imm of R1 to R5 and a 0
	Exit
)

// NoReg stands for no register.
const NoReg = 0xff

// Base is what an address is relative to: R0 to R9, or one of these.
const (
	BaseStack  = program.R10 // end of the function's stack frame
	BaseRegion = 16          // Target.Region
	BaseFrame  = 17          // context of the main function
)

// Mem is a place in memory.
type Mem struct {
	Base uint8
	Off  int64
}

// Op is an operation, made of one instruction.
type Op struct {
	Kind     Kind
	Fn       uint8 // program.AluAdd..., JmpEq..., by Kind; atomics: low 8 bits of Imm
	Size     uint8 // bytes
	Wide     bool  // 64 bits, not 32
	Signed   bool  // division, modulo, load
	Fetch    bool  // atomic: Src becomes the old value (R0, of CmpXchg)
	Own      bool  // atomic: on a value that no other thread writes
	Dst, Src uint8
	Label    bool // a jump leads here
	Loop     bool // may run again in the same call
	// Miss, for a lookup, is the operation to continue at if there is no value, without setting R0;
	// -1: none, and R0 becomes 0.
	Miss int
	To   int // jumps: index of the operation; calls: of the function; lookups: of the map
	Imm  int64
	Mem  Mem
	// Live is a mask of the BPF registers with values that are needed behind the operation.
	Live uint16
}

// Key describes the key of a lookup: the constant Imm, register Src, or Mem.
func (o *Op) Key() (constant, register bool) {
	memory := o.Mem.Base != NoReg
	return !memory && o.Src == NoReg, !memory && o.Src != NoReg
}

// UsesImm reports whether the operand is the immediate.
func (o *Op) UsesImm() bool { return o.Src == NoReg }

// args are the registers that hold arguments of calls.
const args = 1<<program.R1 | 1<<program.R2 | 1<<program.R3 | 1<<program.R4 | 1<<program.R5

// volatile are the registers that calls clobber.
const volatile = args | 1<<program.R0

// bit returns the mask of register r; 0 if r is not a register.
func bit(r uint8) uint16 {
	if r >= program.R10 {
		return 0
	}
	return 1 << r
}

// Defines returns the registers that o changes, except those that a called function changes for
// itself.
func (o *Op) Defines() uint16 {
	switch o.Kind {
	case Const, Address, FuncAddr, Move, Extend, Truncate, Swap, Negate, BitLen, Alu, Load, LoadAcq:
		return bit(o.Dst)
	case Atomic:
		switch {
		case o.Fn == program.AtomicCmpXchg:
			return 1 << program.R0
		case o.Fetch:
			return bit(o.Src)
		}
	case Call, CallFunc, Repeat, Syscall:
		return volatile
	case Lookup, CPU, Thread, Self, Goroutine, Slot, Cycles, Scale:
		return 1 << program.R0
	}
	return 0
}

// uses returns the registers that o reads. entry returns those that a function expects to be set.
func (o *Op) uses(entry func(f int) uint16, result bool) uint16 {
	switch o.Kind {
	case Address, Load, LoadAcq:
		return bit(o.Mem.Base)
	case Move, Extend, BitLen:
		return bit(o.Src)
	case Truncate, Swap, Negate:
		return bit(o.Dst)
	case Alu, Jump:
		return bit(o.Dst) | bit(o.Src)
	case Store, StoreRel:
		return bit(o.Mem.Base) | bit(o.Src)
	case Atomic:
		u := bit(o.Mem.Base) | bit(o.Src)
		if o.Fn == program.AtomicCmpXchg {
			u |= 1 << program.R0
		}
		return u
	case Call:
		return callUses(int32(o.Imm))
	case Syscall:
		return args
	case Scale:
		return 1<<program.R0 | 1<<program.R5
	case CallFunc:
		return entry(o.To)
	case Repeat:
		u := uint16(1<<program.R1 | 1<<program.R3)
		if o.Imm != 0 {
			u |= 1 << program.R4
		}
		if o.To < 0 {
			u |= 1 << program.R2
		}
		return u
	case Lookup:
		return bit(o.Mem.Base) | bit(o.Src)
	case Exit:
		if result {
			return 1 << program.R0
		}
	}
	return 0
}

func callUses(num int32) (u uint16) {
	h := program.Helpers[num]
	switch {
	case num == FnOwn:
		return 1 << program.R2
	case num == FnProcess:
		return 0
	case h == nil:
		return args
	}
	for i := range h.Args {
		u |= 1 << (program.R1 + i)
	}
	return u
}

// pure reports whether o has no effect except on the registers of Defines.
func (o *Op) pure() bool {
	switch o.Kind {
	case Const, Address, FuncAddr, Move, Extend, Truncate, Swap, Negate, BitLen, Alu, Load, CPU, Thread, Self, Goroutine, Slot:
		return true
	case Lookup:
		return o.Miss < 0
	}
	return false
}
