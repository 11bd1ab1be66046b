package arm64

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/skip"
)

// TestGuardSource assembles the guard's source and compares the result.
func TestGuardSource(t *testing.T) {
	for _, tool := range []string{"as", "objcopy", "nm"} {
		if _, err := exec.LookPath("aarch64-linux-gnu-" + tool); err != nil {
			skip.Missing(t, "aarch64-linux-gnu-"+tool)
		}
	}
	object := filepath.Join(t.TempDir(), "guard.o")
	binary := object + ".bin"
	tool(t, "as", "-o", object, "testdata/guard.S")
	tool(t, "objcopy", "-O", "binary", "-j", ".text", object, binary)
	want, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	g := ISA.Guard()
	if !bytes.Equal(g.Code, want) {
		t.Errorf("the source is\n% x, the bytes are\n% x", want, g.Code)
	}
	symbols := tool(t, "nm", object)
	for name, got := range map[string]int{
		"t handler": g.Handler, "t restorer": g.Restorer, "t header": g.Header,
		"a guard_first": arch.GuardFirst, "a guard_old": arch.GuardOld, "a guard_swallow": arch.GuardSwallow,
		"a chunk_next": arch.ChunkNext, "a chunk_count": arch.ChunkCount, "a chunk_head": arch.ChunkHead,
		"a uc_pc": framePC - frameContext, "a nr_rt_sigreturn": nrSigreturn,
	} {
		if want := symbol(t, symbols, name); got != want {
			t.Errorf("%s is %#x in the source, %#x here", name, want, got)
		}
	}
	if g.Header%16 != 0 || g.Header < len(g.Code) {
		t.Errorf("header at %#x, code of %#x", g.Header, len(g.Code))
	}
}

func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("aarch64-linux-gnu-"+name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

// symbol is the value that nm printed for a type letter and a name.
func symbol(t *testing.T, nm []byte, name string) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^([0-9a-f]+) ` + name + `$`).FindSubmatch(nm)
	if m == nil {
		t.Fatalf("no symbol %q", name)
	}
	v, err := strconv.ParseInt(string(m[1]), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}
