package arch

// Convention says where a function has its arguments when it is entered, and what
// it returns when it ends.
type Convention uint8

// The conventions there are. Of each an argument is a word: Go's strings are two, a
// pointer and a length, its slices three.
const (
	// C is the CPU's own: of the System V ABI on amd64, AAPCS64 on arm64.
	C Convention = iota
	// GoRegisters is that of Go's compiler since 1.17 (arm64: 1.18), ABIInternal:
	// arguments and results have the same sequence of registers.
	GoRegisters
	// GoStack is that of Go's compiler before, and of assembly functions called by
	// it, ABI0: arguments lie on the stack, the results behind them.
	GoStack
	// NotKnown is of functions that may have their arguments anywhere: Go's assembly
	// where the symbol table does not say which ABI it keeps to.
	NotKnown
)

// Conventions are all of them, those that are most likely meant first.
var Conventions = [...]Convention{C, GoRegisters, GoStack, NotKnown}

func (c Convention) String() string {
	if c > NotKnown {
		c = NotKnown
	}
	return [...]string{"C", "Go", "Go's stack", "not known"}[c]
}

// StackArg is where argument i of GoStack lies when a function is entered, from its
// stack pointer on: behind the return address, which on arm64 has its place there,
// too.
func StackArg(i int) int64 { return 8 + 8*int64(i) }
