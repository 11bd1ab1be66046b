package symbols

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/internal/fixture"
)

// TestSectionSizes has each section of a program say that it has more bytes than there are:
// what looks at the file ends, with or without an answer.
func TestSectionSizes(t *testing.T) {
	for _, name := range []string{"gowork", "loop"} {
		plain, err := os.ReadFile(fixture.Path(t, name))
		if err != nil {
			t.Fatal(err)
		}
		le := binary.LittleEndian
		headers, n := le.Uint64(plain[40:]), int(le.Uint16(plain[60:]))
		for i := range n {
			for _, size := range []uint64{1 << 63, 1<<64 - 1, 0xab205f0000000000, 1 << 33} {
				b := bytes.Clone(plain)
				le.PutUint64(b[headers+uint64(i)*64+32:], size)
				f, err := NewFile(bytes.NewReader(b), int64(len(b)), name)
				if err != nil {
					continue
				}
				all, _ := f.Functions()
				for _, fn := range all[:min(len(all), 50)] {
					f.Body(amd64.ISA, fn)
					f.Convention(fn)
					_, _ = f.Exits(amd64.ISA, fn)
				}
				for _, name := range []string{"runtime.etext", "main.work", "work"} {
					fns, _ := f.Lookup(name)
					for _, fn := range fns {
						f.Body(amd64.ISA, fn)
						_, _ = f.Instructions(amd64.ISA, fn)
						f.Block(amd64.ISA, fn.Addr+arch.Addr(fn.Size/2), 32)
					}
				}
			}
		}
	}
}
