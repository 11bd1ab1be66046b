package engine

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// TestSparse traces a program that has mapped a file of a gigabyte, or of some
// terabytes, of which hardly anything is on the disk; that it is all code is what the
// mapping says, or the file's headers, too. It costs no more than the file is worth.
func TestSparse(t *testing.T) {
	for name, size := range map[string]uint64{"gigabyte": 1 << 30, "terabytes": 7 << 40} {
		for how, claimed := range map[string]bool{"mapped": false, "claimed": true} {
			t.Run(name+"/"+how, func(t *testing.T) {
				p := launch(t, "sparse", sparseFile(t, size, claimed), strconv.FormatUint(size, 10))
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				s := attach(t, p.pid)
				id := register(t, s, ProbeSpec{Location: "sparse:work"})
				runtime.ReadMemStats(&after)
				if n := after.TotalAlloc - before.TotalAlloc; n > 200<<20 {
					t.Errorf("%d MiB of memory", n>>20)
				}
				p.goOn()
				out, status := p.end()
				if said(t, out, "mapped") == 0 {
					skip.Missing(t, "room for a file of "+name)
				}
				if got := s.Hits(id); status != 0 || got != 100 || said(t, out, "sum") != 3*99*50 {
					t.Errorf("%d hits, status %d, %q", got, status, out)
				}
			})
		}
	}
}

// sparseFile makes a library that can be of any size; with claimed its code's segment
// says that it goes up to that.
func sparseFile(t *testing.T, size uint64, claimed bool) string {
	b, err := os.ReadFile(fixture.Path(t, "plug.so"))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	for at, n := le.Uint64(b[32:]), le.Uint16(b[56:]); claimed && n > 0; at, n = at+56, n-1 {
		if p := b[at:]; le.Uint32(p) == 1 && le.Uint32(p[4:])&1 != 0 { // loaded, executable
			le.PutUint64(p[32:], size-le.Uint64(p[8:]))
			le.PutUint64(p[40:], size-le.Uint64(p[8:]))
		}
	}
	path := filepath.Join(t.TempDir(), "sparse.so")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
