package kernel

import (
	"bytes"
	"runtime"
)

// CanProbe reports whether to try a uprobe on an instruction. On amd64 the kernel looks up the
// opcodes of VEX and EVEX instructions among those without a prefix. So it takes vpbroadcastb, 7a,
// for a jp, and executes that in its place. For the same reason it refuses some others, and handles
// the rest correctly only by chance. It always refuses instructions with a lock or segment prefix
// (is_prefix_bad in arch/x86/kernel/uprobes.c), and trying would take 0.1 s each.
func CanProbe(code []byte) bool {
	if runtime.GOARCH != "amd64" {
		return true
	}
	code = bytes.TrimLeft(code, "\x64\x65\x66\x67") // fs, gs, and the prefixes for operand and address size
	return len(code) == 0 || bytes.IndexByte([]byte("\x26\x2e\x36\x3e\xf0\xc4\xc5\x62"), code[0]) < 0
}
