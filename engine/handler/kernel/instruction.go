package kernel

import (
	"bytes"
	"runtime"
)

// CanProbe is whether to try a uprobe on an instruction. On amd64 the kernel looks
// up the opcodes of VEX and EVEX instructions among those that have no prefix, so
// that vpbroadcastb, 7a, is a jp to it, and executes that in its place. Some it
// refuses, for the same reason; the others are right by chance. Those with a lock or
// a segment's prefix it always refuses (is_prefix_bad in arch/x86/kernel/uprobes.c):
// to ask would take 0.1 s each.
func CanProbe(code []byte) bool {
	if runtime.GOARCH != "amd64" {
		return true
	}
	code = bytes.TrimLeft(code, "\x64\x65\x66\x67") // fs, gs, and the sizes of operands and addresses
	return len(code) == 0 || bytes.IndexByte([]byte("\x26\x2e\x36\x3e\xf0\xc4\xc5\x62"), code[0]) < 0
}
