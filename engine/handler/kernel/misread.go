package kernel

import (
	"bytes"
	"runtime"
)

// Misreads is whether the kernel takes an instruction for another one, which it
// executes in its place: on amd64 it looks up the opcodes of VEX and EVEX
// instructions among those that have no prefix, so that vpbroadcastb, 7a, is a jp to
// where it is. Some it refuses, for the same reason; the others are right by chance.
func Misreads(code []byte) bool {
	if runtime.GOARCH != "amd64" {
		return false
	}
	code = bytes.TrimLeft(code, "\x26\x2e\x36\x3e\x64\x65\x67") // segments, and the size of addresses
	return len(code) > 0 && (code[0] == 0xc4 || code[0] == 0xc5 || code[0] == 0x62)
}
