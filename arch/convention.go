package arch

// Convention says where a function's arguments are at its entry, and where its results are at its
// exit.
type Convention uint8

// Calling conventions. An argument is a word: Go's strings are two, a pointer and a length, its
// slices three.
const (
	// C is the CPU's own: System V ABI on amd64, AAPCS64 on arm64.
	C Convention = iota
	// GoRegisters is that of Go's compiler since 1.17 (arm64: 1.18), ABIInternal: arguments and
	// results use the same sequence of registers.
	GoRegisters
	// GoStack is that of Go's compiler before, and of assembly functions that it calls, ABI0:
	// arguments are on the stack, the results behind them.
	GoStack
	// NotKnown means that the arguments may be anywhere: Go's assembly for which the symbol table
	// has no ABI.
	NotKnown
)

// Conventions are all conventions, the most likely ones first.
var Conventions = [...]Convention{C, GoRegisters, GoStack, NotKnown}

func (c Convention) String() string {
	if c > NotKnown {
		c = NotKnown
	}
	return [...]string{"C", "Go", "Go's stack", "not known"}[c]
}

// StackArg returns the offset of argument i of GoStack from the stack pointer at a function's
// entry, in bytes: behind the return address, for which arm64 reserves the same place.
func StackArg(i int) int64 { return 8 + 8*int64(i) }
