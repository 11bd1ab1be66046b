package engine

import (
	"encoding/binary"
)

func le64(b []byte) uint64       { return binary.LittleEndian.Uint64(b) }
func putLe64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
