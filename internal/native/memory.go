package native

import "unsafe"

// word is the 8 bytes at addr, an address that the code had.
func word(addr uint64) *uint64 {
	return *(**uint64)(unsafe.Pointer(&addr))
}

// Bytes is n bytes at addr, an address of the Machine's memory that the code
// had in a register.
func Bytes(addr uint64, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(word(addr))), n)
}
