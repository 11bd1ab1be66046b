package proof

import "golang.org/x/sys/unix"

var trap = []byte{0xcc}

// trapLen is how far a trap moves the PC.
const trapLen = 1

func pc(r *unix.PtraceRegs) *uint64      { return &r.Rip }
func counter(r *unix.PtraceRegs) *uint64 { return &r.Rbx }
