package ptrace

import "github.com/ptracer/ptracer/arch"

// DebugKind is what a debug register waits for.
type DebugKind uint8

const (
	DebugOff       DebugKind = iota
	DebugExecute             // an instruction's execution
	DebugWrite               // a write
	DebugReadWrite           // a read or write
)

// MaxDebug is how many debug registers are used of each kind.
const MaxDebug = 4

// Debug is one debug register's setting.
type Debug struct {
	Addr arch.Addr
	Len  int // bytes: 1, 2, 4, 8; Addr is a multiple of it
	Kind DebugKind
}
