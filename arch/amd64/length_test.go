package amd64

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/internal/skip"
)

// binaries are the programs that the decoder and objdump must agree about, if they exist on the
// machine.
var binaries = []string{
	"/bin/bash",
	"/usr/lib/x86_64-linux-gnu/libc.so.6",
	"/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
	"/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
}

func TestDecodeBinaries(t *testing.T) {
	self, err := os.Executable() // what Go's compiler writes
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOARCH != "amd64" {
		skip.Missing(t, "binaries for amd64")
	}
	for _, file := range append([]string{self}, binaries...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, err := os.Stat(file); err != nil {
				skip.Missing(t, file)
			}
			n, bad := 0, 0
			objdump(t, file, false, func(l listed) {
				n++
				if d := l.differs(); d != "" && bad < 40 {
					bad++
					t.Errorf("%v: % x %s: %s", l.at, l.code, l.text, d)
				}
			})
			if n < 1000 {
				t.Errorf("only %d instructions", n)
			}
			t.Logf("%d instructions", n)
		})
	}
}

// cell is space for one instruction between plain instructions, so that objdump's decoding of one
// can't shift the next.
const cell = 32

// testSeed is read from the environment, for tests beyond the usual ones.
func testSeed() uint64 {
	if seed, err := strconv.ParseUint(os.Getenv("PTRACER_SEED"), 10, 64); err == nil {
		return seed
	}
	return 1
}

// randomInst makes bytes that look enough like an instruction to get past the
// first check.
func randomInst(r *rand.Rand) []byte {
	prefixes := []byte{0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x65, 0x64, 0xf0}
	var code []byte
	for range r.IntN(3) {
		code = append(code, prefixes[r.IntN(len(prefixes))])
	}
	if r.IntN(2) == 0 {
		code = append(code, 0x40|byte(r.IntN(16)))
	}
	switch r.IntN(10) {
	case 0, 1, 2:
		code = append(code, 0x0f)
	case 3:
		code = append(code, 0x0f, 0x38)
	case 4:
		code = append(code, 0x0f, 0x3a)
	case 5:
		code = []byte{0xc5, byte(r.Uint32())}
	case 6:
		code = []byte{0xc4, byte(r.Uint32())&0xe0 | byte(1+r.IntN(3)), byte(r.Uint32())}
	case 7:
		code = []byte{0x62, byte(r.Uint32())&0xf0 | byte(1+r.IntN(6)), byte(r.Uint32()) | 4, byte(r.Uint32())}
	case 8:
		code = []byte{0x8f, byte(r.Uint32())&0xe0 | byte(8+r.IntN(3)), byte(r.Uint32()) &^ 3}
	}
	for len(code) < maxInst {
		code = append(code, byte(r.Uint32()))
	}
	return code
}

// TestDecodeRandom compares with objdump on code that no compiler writes.
func TestDecodeRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(testSeed(), 1))
	var code []byte
	for range 100_000 {
		one := randomInst(r)
		code = append(code, one...)
		code = append(code, bytes.Repeat([]byte{0x90}, cell-len(one))...)
	}
	file := filepath.Join(t.TempDir(), "random")
	if err := os.WriteFile(file, code, 0o666); err != nil {
		t.Fatal(err)
	}
	n, bad := 0, 0
	objdump(t, file, true, func(l listed) {
		if l.at%cell != 0 {
			return
		}
		n++
		if d := l.differs(); d != "" && bad < 200 {
			bad++
			t.Errorf("%v: % x %s: %s", l.at, l.code, l.text, d)
		}
	})
	if n < 20_000 {
		t.Errorf("objdump knew only %d instructions", n)
	}
}
