package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ptracer/ptracer/internal/fixture"
)

// tree makes a file system of one-line sources: name -> what follows the
// package clause. "@" stands for the module.
func tree(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range files {
		if !strings.HasPrefix(text, "//") {
			text = "package p; " + text
		}
		fsys[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, "@", module))}
	}
	return fsys
}

func TestRules(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"down", "engine/a.go", `import "@/breakpoint"`, ""},
		{"far down", "cmd/ptracer/a.go", `import "@/arch"`, ""},
		{"up", "breakpoint/a.go", `import "@/engine"`, "breakpoint/a.go:1: layers"},
		{"up from below", "engine/event/a.go", `import "@/engine"`, "layers"},
		{"beside", "symbols/a.go", `import "@/breakpoint"`, "layers"},
		{"twin", "arch/amd64/a.go", `import "@/arch/arm64"`, "layers"},
		{"bench below cmd", "cmd/ptracer/a.go", `import "@/bench"`, ""},
		{"cmd from bench", "bench/a.go", `import "@/cmd/ptracer"`, "layers"},
		{"what bench measures", "bench/internal/target/a.go", `import "@/bench/internal/contender"`, "layers"},
		{"up in arch", "arch/a.go", `import "@/arch/arm64"`, "layers"},
		{"own part", "symbols/a.go", `import "@/symbols/dwarf"`, ""},
		{"own whole", "symbols/dwarf/a.go", `import "@/symbols"`, "layers"},
		{"below the engine", "engine/a.go", `import "@/engine/internal/ptrace"`, ""},
		{"no place", "misc/a.go", ``, "misc/a.go:1: layers"},
		{"root", "a.go", ``, "a.go:1: layers"},
		{"imports the root", "cmd/x/a.go", `import "@"`, "layers"},
		{"engines are not engine", "engines/a.go", ``, "layers"},

		{"test helper", "engine/a.go", `import "@/internal/skip"`, "tools"},
		{"helper's helper", "internal/leak/a.go", `import "@/internal/skip"`, ""},
		{"helper of all", "internal/lane/a.go", `import "@/engine"`, ""},

		{"cgo", "symbols/a.go", `import "C"`, "cgo"},

		{"door", "engine/internal/ptrace/a.go", `import "golang.org/x/sys/unix"`, ""},
		{"beside the door", "engine/internal/inferior/a.go", `import "golang.org/x/sys/unix"`, "door"},
		{"what we are compared with", "bench/internal/contender/a.go", `import "golang.org/x/sys/unix"`, ""},
		{"bench itself", "bench/a.go", `import "golang.org/x/sys/unix"`, "door"},
		{"unix in a tool", "internal/lane/a.go", `import "golang.org/x/sys/unix"`, "door"},
		{"back door", "engine/a.go", `import "syscall"; var _ = syscall.PtraceAttach`, "door"},
		{"back door, renamed", "engine/a.go", `import sys "syscall"; func f() { sys.RawSyscall6() }`, "door"},
		{"back door, hidden", "engine/a.go", `import . "syscall"; var _ = Wait4`, "door"},
		{"not a back door", "engine/a.go", `import "syscall"; var _ = syscall.SIGTERM`, ""},
		{"another's Wait4", "engine/a.go", `import "syscall"; var x struct{ Wait4 int }; var _, _ = x.Wait4, syscall.EINTR`, ""},
		{"init", "internal/lane/init/a.go", `import "syscall"; var _ = syscall.Wait4`, ""},

		{"pure", "arch/arm64/a.go", `import ("errors"; "encoding/binary"; "@/arch")`, ""},
		{"os", "arch/arm64/a.go", `import "os"`, "pure"},
		{"os/exec", "arch/a.go", `import "os/exec"`, "pure"},
		{"ossify", "arch/a.go", `import "ossify"`, ""},
		{"unsafe", "arch/amd64/a.go", `import "unsafe"`, "pure"},
		{"net", "arch/a.go", `import "net/netip"`, "pure"},
		{"tag", "arch/a.go", "// A.\n//go:build linux\n\npackage p", "arch/a.go:2: pure"},
		{"old tag", "arch/a.go", "// +build linux\n\npackage p", "arch/a.go:1: pure"},
		{"tag elsewhere", "engine/a.go", "//go:build linux\n\npackage p", ""},
		{"tag as text", "arch/a.go", "// A.\npackage p\n\n//go:build linux\n", ""},
		{"suffix", "arch/inst_arm64.go", ``, "pure"},
		{"no suffix", "arch/amd64/inst_table.go", ``, ""},
		{"only a suffix", "arch/amd64.go", ``, ""},

		{"printed", "cmd/x/a.go", `import "fmt"; func f(w io.Writer) { fmt.Fprintln(w, "a") }`, "cmd/x/a.go:1: printed"},
		{"printed as it is", "cmd/x/a.go", `import "io"; func f(w io.Writer) { io.WriteString(w, "a") }`, "printed"},
		{"printed by the door", "cmd/x/a.go", `import ("fmt"; "@/printable"); func f(w io.Writer) { printable.Write(w, fmt.Sprint("a")) }`, ""},
		{"the screen", "cmd/ptracer/internal/show/screen.go", `import "fmt"; func f(w io.Writer) { fmt.Fprint(w, "a") }`, ""},
		{"printed by the engine", "engine/a.go", `import ("fmt"; "os"); func f() { fmt.Fprintf(os.Stderr, "a") }`, "engine/a.go:1: printed"},
		{"printed plainly", "engine/a.go", `import "fmt"; func f() { fmt.Println("a") }`, "printed"},
		{"printed by a tool", "internal/a/a.go", `import ("fmt"; "os"); func f() { fmt.Fprintf(os.Stderr, "a") }`, ""},
		{"printed elsewhere", "engine/a.go", `import "fmt"; func f(w io.Writer) { fmt.Fprint(w, "a") }`, ""},

		{"joined", "engine/a.go", `import "errors"; func f() error { return errors.Join(g(), h()) }`, "engine/a.go:1: joined"},
		{"joined methods", "cmd/x/a.go", `import "errors"; func f(err error) error { return errors.Join(err, x.g(), x.y.h()) }`, "joined"},
		{"joined with what has been", "engine/a.go", `import "errors"; func f(err error) error { return errors.Join(err, h()) }`, ""},
		{"joined with a reason", "engine/a.go", `import ("errors"; "fmt"); func f() error { return errors.Join(fmt.Errorf("a"), errors.New("b"), h()) }`, ""},
		{"gathered", "engine/a.go", `func f() { var errs []error; errs = append(errs, g(), h()) }`, "joined"},
		{"gathered one by one", "engine/a.go", `func f(err error) { var errs []error; errs = append(errs, err, h()) }`, ""},
		{"joined in a benchmark", "bench/a.go", `import "errors"; func f() error { return errors.Join(g(), h()) }`, ""},

		{"lent", "engine/internal/ptrace/a.go", `import "syscall"; var _ = syscall.SysProcAttr{Credential: nil}`, "engine/internal/ptrace/a.go:1: lent"},
		{"lent by a test's helper", "internal/a/a.go", `import "syscall"; var _ = syscall.SysProcAttr{Credential: nil}`, ""},

		{"moved", "engine/internal/ptrace/a.go", `import "unsafe"; func f(p *int) { g(uintptr(unsafe.Pointer(p))) }`, "engine/internal/ptrace/a.go:1: moved"},
		{"moved on", "engine/internal/ptrace/a.go", `import "unsafe"; func f(p unsafe.Pointer) { g(uintptr(p)) }`, "moved"},
		{"moved later", "engine/internal/ptrace/a.go", `import "unsafe"; func f(p *int) { n := uintptr(unsafe.Pointer(p)); unix.RawSyscall(0, n, 0, 0) }`, "moved"},
		{"moved by a variable", "engine/internal/ptrace/a.go", `import "unsafe"; func f(p *int) { call := unix.RawSyscall; call(0, uintptr(unsafe.Pointer(p)), 0, 0) }`, "moved"},
		{"in its place", "engine/internal/ptrace/a.go", `import "unsafe"; func f(p unsafe.Pointer) { unix.RawSyscall(0, uintptr(p), uintptr(unsafe.Pointer(&x)), 0) }`, ""},
		{"a size", "engine/internal/ptrace/a.go", `import "unsafe"; func f(n int) { g(uintptr(n)) }`, ""},
		{"a remainder", "engine/handler/interp/a.go", `import "unsafe"; func f(p *int) bool { return uintptr(unsafe.Pointer(p))%8 == 0 }`, ""},

		{"halted", "engine/a.go", `import "@/breakpoint"; var _ = breakpoint.NewPause(0)`, "engine/a.go:1: halted"},
		{"no pause", "engine/a.go", `import "@/breakpoint"; var _ = breakpoint.Pause{}`, ""},
		{"halts", "engine/internal/tasks/a.go", `import "@/breakpoint"; var _ = breakpoint.NewPause(0)`, ""},

		{"compared", "engine/a.go", `import "io"; func f(err error) bool { return err == io.EOF }`, "engine/a.go:1: compared"},
		{"compared with one of its own", "internal/a/a.go", `func f(err error) bool { return errOdd != err }`, "compared"},
		{"compared with another's", "engine/a.go", `func f(err error) bool { return err == tasks.ErrBusy }`, "compared"},
		{"compared with nothing", "engine/a.go", `func f(err error) bool { return errOdd == nil && err == unix.EINTR && err2 != err }`, ""},
		{"compared for errors.Is", "engine/a.go", `func (e *E) Is(target error) bool { return target == ErrBusy }`, ""},

		{"plain", "procfs/a.go", "// We wait.\npackage p", "procfs/a.go:1: plain"},
		{"plain inside", "procfs/a.go", "func f() { g() } // nobody knows", "plain"},
		{"plain text", "cmd/ptracer/a.go", `var err = errors.New("nobody traces it")`, "plain"},
		{"plain text elsewhere", "internal/a/a.go", `var err = errors.New("nobody traces it")`, ""},
		{"plainly", "procfs/a.go", "// The tracer waits.\npackage p", ""},
		{"not yet plain", "internal/a/a.go", "// We wait.\npackage p", ""},

		{"named", "engine/a.go", `import "os"; var _, _ = os.ReadFile(fmt.Sprintf("/proc/%d/status", 1))`, "engine/a.go:1: named"},
		{"named by hand", "engine/a.go", `import "os"; var _, _ = os.ReadFile("/proc/" + strconv.Itoa(1))`, "named"},
		{"its own", "engine/a.go", `import "os"; var _, _ = os.ReadFile("/proc/self/status")`, ""},
		{"named at the door", "procfs/a.go", `import "os"; var _, _ = os.ReadFile(fmt.Sprintf("/proc/%d/status", 1))`, ""},

		{"test", "arch/a_test.go", `import "os"`, "no Go files"},
		{"fixture", "testdata/src/a.go", `import "C"`, "no Go files"},
		{"hidden", ".x/a.go", `import "C"`, "no Go files"},
		{"built", "build/a.go", `import "C"`, "no Go files"},
		{"broken", "engine/a.go", `import`, "engine/a.go:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			breaches, _, err := check(tree(map[string]string{c.file: c.text}))
			got := fmt.Sprint(breaches)
			if err != nil {
				got = err.Error()
			}
			if c.want == "" && got != "[]" || !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %q", got, c.want)
			}
		})
	}
}

func TestOnePicker(t *testing.T) {
	files := map[string]string{
		"arch/amd64/a.go":             `import "@/arch"`,
		"engine/internal/ptrace/a.go": `import ("@/arch/amd64"; "@/arch/arm64")`,
	}
	if got, n, err := check(tree(files)); len(got) != 0 || n != 2 || err != nil {
		t.Errorf("one picker: %v, %d files, %v", got, n, err)
	}
	files["symbols/a.go"] = `import "@/arch/arm64"`
	got, _, err := check(tree(files))
	if err != nil || len(got) != 1 || got[0].name != "symbols/a.go" || got[0].rule != "one picker" {
		t.Errorf("two pickers: %v, %v", got, err)
	}
}

func TestOtherModule(t *testing.T) {
	fsys := tree(map[string]string{"internal/tools/a.go": `import "C"`, "engine/a.go": ``})
	fsys["internal/tools/go.mod"] = &fstest.MapFile{}
	if got, n, err := check(fsys); len(got) != 0 || n != 1 || err != nil {
		t.Errorf("another module's file was looked at: %v, %d files, %v", got, n, err)
	}
}

// TestModule looks at the module itself; that it is in order is what the
// program is run for, here it must only be found.
func TestModule(t *testing.T) {
	root, err := fixture.Root()
	if err != nil {
		t.Fatal(err)
	}
	sources, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"arch/arch.go", "internal/check/rules.go"} {
		if !slices.ContainsFunc(sources, func(s source) bool { return s.name == want }) {
			t.Errorf("%s was not looked at", want)
		}
	}
}
