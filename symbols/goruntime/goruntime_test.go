package goruntime

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
)

// nothing is a memory in which nothing can be read.
type nothing struct{}

var errNothing = errors.New("nothing is there")

func (nothing) Read(arch.Addr, []byte) error            { return errNothing }
func (nothing) ReadSome(arch.Addr, []byte) (int, error) { return 0, errNothing }

// TestOddData: a Go program's data may be shorter than a word, and lie anywhere.
func TestOddData(t *testing.T) {
	for vaddr := range uint64(16) {
		for size := range uint64(9) {
			b := make([]byte, 64+56)
			copy(b, elf.ELFMAG)
			b[elf.EI_CLASS], b[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
			le := binary.LittleEndian
			le.PutUint64(b[32:], 64)
			le.PutUint16(b[54:], 56)
			le.PutUint16(b[56:], 1)
			le.PutUint32(b[64:], uint32(elf.PT_LOAD))
			le.PutUint32(b[68:], uint32(elf.PF_W))
			le.PutUint64(b[80:], vaddr)
			le.PutUint64(b[104:], size)
			f, err := symbols.NewFile(bytes.NewReader(b), int64(len(b)), "odd")
			if err != nil {
				t.Fatal(err)
			}
			_ = eachGoSlice(nothing{}, &symbols.Module{File: f}, func(arch.Addr, uint64) error { return nil })
		}
	}
}
