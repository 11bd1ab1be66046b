package build

import (
	"errors"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/arch"
)

// layout says where the parts of a context are, in words of 8 bytes.
type layout struct {
	args       [len(arch.Conventions)][]int // by convention: the arguments in registers
	ret        int
	sp, pc, fp int
	g          int // the goroutine, in Go code
	names      []string
	returned   int // bytes that a return takes off the stack
}

// layouts are the layouts of struct pt_regs and struct user_pt_regs, by GOARCH.
var layouts = map[string]layout{
	"amd64": {
		args: [...][]int{arch.C: {14, 13, 12, 11, 9, 8}, arch.GoRegisters: {10, 5, 11, 14, 13, 9, 8, 7, 6}, arch.NotKnown: nil},
		ret:  10, sp: 19, pc: 16, fp: 4, g: 1, returned: 8,
		names: []string{
			"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax",
			"rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss",
		},
	},
	"arm64": {
		args: [...][]int{arch.C: {0, 1, 2, 3, 4, 5, 6, 7}, arch.GoRegisters: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, arch.NotKnown: nil},
		ret:  0, sp: 31, pc: 32, fp: 29, g: 28,
		names: []string{
			"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
			"x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23",
			"x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp", "pc", "pstate",
		},
	},
}

// word loads a word of the context.
func (b *Builder) word(dst Reg, i int) { b.Add(asm.LoadMem(dst, Ctx, int16(8*i), asm.DWord)) }

// ErrNotKnown is wrapped by errors about arguments and results that are in no register of the
// calling convention.
var ErrNotKnown = errors.New("not known")

// Arg loads argument n of the function at its entry, as the calling convention of the context
// (Context.Calls) passes it in registers: n is 0 to 5 in C on amd64, to 7 on arm64; in Go 0 to 8 on
// amd64, to 15 on arm64.
func (b *Builder) Arg(dst Reg, n int) {
	if w, ok := b.arg(n); ok {
		b.word(dst, w)
	}
}

func (b *Builder) arg(n int) (word int, ok bool) {
	regs := b.layout.args[b.context.Calls]
	switch c := b.context.Calls; {
	case n >= 0 && n < len(regs):
		return regs[n], true
	case c == arch.NotKnown:
		b.Fail("arg%d: %w: nothing says where the function has its arguments at this place: name a register, as $%s", n, ErrNotKnown, b.layout.names[b.layout.ret])
	case c == arch.GoStack:
		b.Fail("arg%d: %w: this function has its arguments on the stack", n, ErrNotKnown)
	default:
		b.Fail("arg%d: %w: it is in no register, %v has %d on %s", n, ErrNotKnown, c, len(regs), b.context.Arch)
	}
	return 0, false
}

// Ret loads the function's result, at its exit.
func (b *Builder) Ret(dst Reg) { b.Result(dst, 0) }

// Result loads word n of the function's result, at its exit; only Go's results have words behind
// the first.
func (b *Builder) Result(dst Reg, n int) {
	regs := b.layout.args[arch.GoRegisters] // the results use the same registers
	switch c := b.context.Calls; {
	case c == arch.NotKnown:
		b.Fail("ret: %w: nothing says where the function leaves its result: name a register, as $%s", ErrNotKnown, b.layout.names[b.layout.ret])
	case c == arch.GoStack:
		b.Fail("ret: %w: this function leaves its results on the stack, behind its arguments, and nothing says how many these are: name the place, as load64($%s + 16)", ErrNotKnown, b.layout.names[b.layout.sp])
	case n == 0:
		b.word(dst, b.layout.ret)
	case c == arch.GoRegisters && n > 0 && n < len(regs):
		b.word(dst, regs[n])
	default:
		b.Fail("word %d of the result: %w", n, ErrNotKnown)
	}
}

// SP loads the stack pointer.
func (b *Builder) SP(dst Reg) { b.word(dst, b.layout.sp) }

// PC loads the address of the probed instruction.
func (b *Builder) PC(dst Reg) { b.word(dst, b.layout.pc) }

// Goroutine loads the address of the running goroutine, in Go code.
func (b *Builder) Goroutine(dst Reg) { b.word(dst, b.layout.g) }

// Register loads the register with this name in the kernel's header.
func (b *Builder) Register(dst Reg, name string) {
	i := slices.Index(b.layout.names, name)
	if i < 0 {
		b.Fail("%s has no register %q", b.context.Arch, name)
		return
	}
	b.word(dst, i)
}

// SetArg changes argument n before the function runs. Stores to the context require the right
// Override; the kernel accepts them in uprobe programs since Linux 6.19.
func (b *Builder) SetArg(n int, src Reg) {
	if w, ok := b.arg(n); ok {
		b.Add(asm.StoreMem(Ctx, int16(8*w), src, asm.DWord))
	}
}

// SetRet changes the first register of the function's result, at its exit; see SetArg.
func (b *Builder) SetRet(src Reg) {
	if c := b.context.Calls; c == arch.GoStack || c == arch.NotKnown {
		b.Fail("ret: %w: nothing says where this function leaves its result", ErrNotKnown)
	}
	b.Add(asm.StoreMem(Ctx, int16(8*b.layout.ret), src, asm.DWord))
}
