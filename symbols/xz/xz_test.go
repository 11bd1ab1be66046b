package xz

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/internal/skip"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestUnpackErrors: a stream is unpacked whole, and the beginning of one is an error.
func TestUnpackErrors(t *testing.T) {
	tool, err := exec.LookPath("xz")
	if err != nil {
		skip.Missing(t, "xz")
	}
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte(strings.Repeat("hello world ", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path + ".xz")
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := Unpack(b, 1<<20); err != nil || len(plain) != 12000 {
		t.Errorf("%d bytes, %v", len(plain), err)
	}
	for n := range len(b) - 40 {
		if plain, err := Unpack(b[:n], 1<<20); err == nil {
			t.Errorf("the first %d of %d bytes give %d", n, len(b), len(plain))
		}
	}
}

func FuzzUnpack(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "hello.xz"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if plain, err := Unpack(b, 1<<16); err == nil && len(plain) > 1<<16 {
			t.Error("too much")
		}
	})
}
