package symbols

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/forge"
)

// TestBody: a Go function begins for good behind the last branch to its call of
// runtime.morestack, which the symbols name, and at once where it has none.
func TestBody(t *testing.T) {
	for name, env := range map[string][]string{"amd64": {"GOARCH=amd64"}, "arm64": {"GOARCH=arm64"}} {
		t.Run(name, func(t *testing.T) { bodies(t, open(t, goBuild(t, env))) })
	}
	t.Run("go", func(t *testing.T) {
		path, err := exec.LookPath(forge.Tool(t, "go"))
		if err != nil {
			t.Fatal(err)
		}
		bodies(t, open(t, path))
	})
}

func bodies(t *testing.T, f *File) {
	fns, err := f.Functions()
	if err != nil {
		t.Fatal(err)
	}
	more := map[arch.Addr]bool{}
	for _, fn := range fns {
		if strings.HasPrefix(fn.Name, "runtime.morestack") {
			more[fn.Addr] = true
		}
	}
	checks := 0
	for _, fn := range fns {
		want := fn.Addr
		if !strings.HasPrefix(fn.Name, "runtime.morestack") {
			want = behindCheck(t, f, fn, more)
		}
		if want != fn.Addr {
			checks++
		}
		if got := f.Body(isaOf(f), fn); got != want {
			t.Errorf("%s+%d, want +%d", fn.Name, got-fn.Addr, want-fn.Addr)
		}
	}
	if len(more) == 0 || checks < len(fns)/2 {
		t.Errorf("%d of %d functions have a check", checks, len(fns))
	}
	t.Logf("%d of %d functions have a check", checks, len(fns))
}

// behindCheck is behind the last branch to what calls one of more.
func behindCheck(t *testing.T, f *File, fn Function, more map[arch.Addr]bool) arch.Addr {
	list, err := f.disassemble(isaOf(f), Range{fn.Addr, fn.End()})
	if err != nil {
		t.Fatal(err)
	}
	var from, call arch.Addr // of the part that calls: behind what never goes on
	for _, in := range list {
		if in.Kind == arch.KindCall && more[in.Target] {
			call = in.addr
			break
		}
		if in.Kind != arch.KindOther && in.Kind != arch.KindNop {
			from = in.addr
		}
	}
	last := fn.Addr
	for _, in := range list {
		if in.Kind == arch.KindBranch && in.Target > from && in.Target <= call {
			last = in.addr + arch.Addr(in.Len)
		}
	}
	return last
}

// TestBodyIsGos: what looks like a stack check is none in C.
func TestBodyIsGos(t *testing.T) {
	f := open(t, compile(t, "gcc", "-nostdlib", "-static", "check.S"))
	fns, err := f.Lookup("f")
	if err != nil || len(fns) != 1 {
		t.Fatal(fns, err)
	}
	if got := f.Body(isaOf(f), fns[0]); got != fns[0].Addr {
		t.Errorf("+%d", got-fns[0].Addr)
	}
}
