package target

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/arch/arm64/arm64asm"
	"golang.org/x/arch/x86/x86asm"

	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/internal/skip"
)

func TestMain(m *testing.M) { leak.Main(m) }

func build(t *testing.T, goarch string, many int) *Image {
	t.Helper()
	img, err := Build(Kind{Arch: goarch, Many: many})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// text is the code from an address on.
func (img *Image) text(addr uint64) []byte { return img.File[Offset(addr):] }

// decode writes an instruction as the field's own disassembler has it.
func decode(t *testing.T, goarch string, code []byte, at uint64) (text string, size int) {
	t.Helper()
	if goarch == "arm64" {
		in, err := arm64asm.Decode(code)
		if err != nil {
			t.Fatalf("%#x: %v: % x", at, err, code[:4])
		}
		return strings.ToLower(arm64asm.GNUSyntax(in)), 4
	}
	if bytes.HasPrefix(code, []byte{0xf3, 0x0f, 0x1e, 0xfa}) {
		return "endbr64", 4 // which it takes for a nop with a prefix
	}
	in, err := x86asm.Decode(code, 64)
	if err != nil {
		t.Fatalf("%#x: %v: % x", at, err, code[:15])
	}
	return x86asm.GNUSyntax(in, at, nil), in.Len
}

// TestSites: each class lies on the instruction that it is named for, and where
// a thread may go on instead is the same one.
func TestSites(t *testing.T) {
	for goarch, want := range map[string]map[string]string{
		"amd64": {"nop5": "nopl (%rax,%rax)", "nop": "nop", "push": "push %rbx", "endbr64": "endbr64",
			"lea": "lea (%rdi,%rdi,2),%rax", "sub": "sub $0x18,%rsp", "cmp": "cmp 0x10(%r14),%rsp",
			"call": "callq", "ret": "retq", "loop": "add %rdi,%rdx"},
		"arm64": {"nop": "nop", "push": "stp x29, x30, [sp,#-16]!", "endbr64": "bti", "lea": "add x0, x0, x0, lsl #1",
			"sub": "sub sp, sp, #0x20", "cmp": "ldr x16, [x28,#16]", "call": "bl", "ret": "ret", "loop": "add x1, x1, x0"},
	} {
		t.Run(goarch, func(t *testing.T) {
			img := build(t, goarch, 0)
			if len(img.Sites) != len(want) || len(img.Sites)+len(img.Missing) != 10 {
				t.Errorf("%d sites, %d missing", len(img.Sites), len(img.Missing))
			}
			for _, s := range img.Sites {
				text, _ := decode(t, goarch, img.text(s.Addr), s.Addr)
				if s.Class == "endbr64" && goarch == "arm64" {
					text = strings.Replace(text, "hint #0x22", "bti", 1)
				}
				if !strings.HasPrefix(text, want[s.Class]) {
					t.Errorf("%s lies on %q", s.Class, text)
				}
				again, n := decode(t, goarch, img.text(s.Resume), s.Resume)
				if same := bytes.Equal(img.text(s.Addr)[:n], img.text(s.Resume)[:n]); !same && s.Class != "call" || s.Class == "call" && again[:3] != text[:3] {
					t.Errorf("%s resumes at %q instead of %q", s.Class, again, text)
				}
			}
		})
	}
}

// TestDisassembles goes through all code, as a tracer does to prove jumps safe.
func TestDisassembles(t *testing.T) {
	for _, goarch := range []string{"amd64", "arm64"} {
		img := build(t, goarch, 3)
		f, err := elf.NewFile(bytes.NewReader(img.File))
		if err != nil {
			t.Fatal(err)
		}
		text := f.Section(".text")
		code, err := text.Data()
		if err != nil {
			t.Fatal(err)
		}
		for at := uint64(0); at < text.Size; {
			_, n := decode(t, goarch, append(code[at:], make([]byte, 15)...), text.Addr+at)
			at += uint64(n)
		}
		symbols, err := f.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range symbols {
			if s.Name != img.Symbols[i].Name || s.Value != img.Symbols[i].Addr || s.Size == 0 {
				t.Errorf("symbol %d: %+v, want %+v", i, s, img.Symbols[i])
			}
		}
		if img.Stride == 0 || img.Addr("many_0002") != img.Addr("many_0000")+2*img.Stride {
			t.Errorf("stride %d", img.Stride)
		}
	}
}

func TestUnknownCPU(t *testing.T) {
	if _, err := Build(Kind{Arch: "mips"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// install builds the program for this machine.
func install(t *testing.T, many int) *Program {
	t.Helper()
	p, err := Install(build(t, runtime.GOARCH, many))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(p.Path); err == nil {
			t.Errorf("%s is still there", p.Path)
		}
	})
	return p
}

func start(t *testing.T, p *Program, o Options) *Process {
	t.Helper()
	r, err := p.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func run(t *testing.T, r *Process, o Order) Took {
	t.Helper()
	took, err := r.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	return took
}

// TestHand has each site's jump written, which counts all calls, and the
// program goes on as before.
func TestHand(t *testing.T) {
	p := install(t, 0)
	for _, s := range p.Sites {
		r := start(t, p, Options{})
		took := run(t, r, Order{Addr: s.Entry, Calls: 1000})
		if took.Calls != 1000 || took.Time <= 0 || r.Patched() != 0 {
			t.Errorf("%s: %+v, %d patched", s.Class, took, r.Patched())
		}
		if err := r.Write(s.JumpAt, s.Jump); err != nil {
			t.Fatal(err)
		}
		run(t, r, Order{Addr: s.Entry, Calls: 1000})
		if got := r.Patched(); got != uint64(1000*s.PerCall) {
			t.Errorf("%s: %d counted", s.Class, got)
		}
	}
}

// TestTrap has the program answer traps of its own, on all its threads.
func TestTrap(t *testing.T) {
	p := install(t, 0)
	for _, s := range p.Sites {
		r := start(t, p, Options{Threads: 2, Trap: true})
		r.Resume(s.Resume)
		if err := r.Write(s.Addr, p.Trap); err != nil {
			t.Fatal(err)
		}
		run(t, r, Order{Addr: s.Entry, Calls: 100})
		if got := r.Trapped(); got != uint64(200*s.PerCall) {
			t.Errorf("%s: %d traps", s.Class, got)
		}
	}
}

// TestThreads: all are there when Start is back, and as many work as are asked.
func TestThreads(t *testing.T) {
	p := install(t, 0)
	r := start(t, p, Options{Threads: 5})
	if tids, err := r.TIDs(); err != nil || len(tids) != 5 {
		t.Errorf("threads %v, %v", tids, err)
	}
	if err := r.Pin(0); err != nil {
		t.Error(err)
	}
	for _, n := range []int{1, 3, 0} {
		took := run(t, r, Order{Addr: p.Addr("system_call"), Calls: 50, Threads: n})
		if want := uint64(50 * map[int]int{1: 1, 3: 3, 0: 5}[n]); took.Calls != want {
			t.Errorf("%d threads: %d calls, want %d", n, took.Calls, want)
		}
	}
	if _, err := p.Start(Options{Threads: MaxThreads + 1}); err == nil {
		t.Error("more threads than there is room for")
	}
}

// TestMany calls each of many functions once.
func TestMany(t *testing.T) {
	p := install(t, 500)
	r := start(t, p, Options{})
	if took := run(t, r, Order{Addr: p.Addr("many_0000"), Calls: p.Many, Stride: p.Stride}); took.Calls != 500 {
		t.Errorf("%+v", took)
	}
}

// TestSpin sees the program stopped for a while.
func TestSpin(t *testing.T) {
	p := install(t, 0)
	r := start(t, p, Options{Threads: 3})
	if err := r.Spin(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	r.Gap()
	const stood = 60 * time.Millisecond
	signal := func(name os.Signal) {
		if err := r.cmd.Process.Signal(name); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	time.Sleep(stood)
	signal(syscall.SIGCONT)
	time.Sleep(20 * time.Millisecond)
	if gap := r.Gap(); gap < stood/2 {
		t.Errorf("stood for %v, saw %v", stood, gap)
	}
	if err := r.Still(); err != nil {
		t.Error(err)
	}
	run(t, r, Order{Addr: p.Addr("leaf"), Calls: 1})
}

// TestOrphan ends a working program, as the death of its parent does.
func TestOrphan(t *testing.T) {
	p := install(t, 0)
	r := start(t, p, Options{Threads: 2})
	if err := r.Spin(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestLinked starts a program by the dynamic loader, where there is one, and
// sees it end by the C library.
func TestLinked(t *testing.T) {
	img, err := Build(Kind{Arch: runtime.GOARCH, Linked: true})
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(img.File))
	if err != nil {
		t.Fatal(err)
	}
	if libs, err := f.ImportedLibraries(); err != nil || !slices.Equal(libs, []string{"libc.so.6"}) {
		t.Errorf("libraries %v, %v", libs, err)
	}
	if symbols, err := f.ImportedSymbols(); err != nil || len(symbols) != 1 || symbols[0].Name != "exit" {
		t.Errorf("symbols %v, %v", symbols, err)
	}
	a, _ := setOf(runtime.GOARCH)
	if loader := a(nil).loader(); !exists(loader) {
		skip.Missing(t, "the dynamic loader "+loader)
	}
	p, err := Install(img)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := start(t, p, Options{})
	run(t, r, Order{Addr: p.Sites[0].Entry, Calls: 10})
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Start(Options{Threads: 2}); err == nil {
		t.Error("a second thread, which has no thread pointer")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestInMemory is for machines where no file can be executed.
func TestInMemory(t *testing.T) {
	p, err := inMemory(build(t, runtime.GOARCH, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := start(t, p, Options{})
	run(t, r, Order{Addr: p.Sites[0].Entry, Calls: 3})
}

// TestStuck kills a program that does not answer, and says so.
func TestStuck(t *testing.T) {
	defer func(d time.Duration) { Patience = d }(Patience)
	p := install(t, 0)
	r, err := p.Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	Patience = 10 * time.Millisecond
	_, err = r.Run(Order{Addr: p.Addr("spin"), Calls: 1})
	if err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v", err)
	}
	if err := r.Close(); err == nil {
		t.Error("its end is no error")
	}
	Patience = time.Minute
	r = start(t, p, Options{})
	if err := r.Write(p.Addr("leaf"), p.Trap); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(Order{Addr: p.Addr("leaf"), Calls: 1}); err == nil || !strings.Contains(err.Error(), "trace/breakpoint trap") {
		t.Errorf("%v", err)
	}
	if err := r.Close(); err == nil {
		t.Error("its end is no error")
	}
}
