package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// layers is the direction of imports: a package imports packages of lines
// below its own only, or folders below itself. A folder stands for all below
// it, unless those have a line of their own.
var layers = [][]string{
	{"cmd"},
	{"cmd/ptracer/internal/job", "cmd/ptracer/internal/remains"},
	{"cmd/ptracer/internal/flags", "cmd/ptracer/internal/printer", "cmd/ptracer/internal/sharing", "cmd/ptracer/internal/tally"},
	{"cmd/ptracer/internal/show"},
	{"cmd/ptracer/internal/exit", "cmd/ptracer/internal/heap"},
	{"bench"},
	{"bench/internal/contender"},
	{"bench/internal/target"},
	{"engine/arbiter/server", "engine/arbiter/client"},
	{"engine/arbiter/wire"},
	{"engine/arbiter"},
	{"engine"},
	{"engine/internal/resident"},
	{"engine/internal/aside"},
	{"engine/internal/life"},
	{"engine/internal/clean"},
	{"engine/internal/hit"},
	{"engine/internal/plant"},
	{"engine/internal/hook"},
	{"engine/internal/find"},
	{"engine/internal/uprobe"},
	{"engine/internal/watch"},
	{"engine/internal/jump"},
	{"engine/internal/probe"},
	{"engine/internal/inproc"},
	{"engine/internal/xol"},
	{"engine/internal/guard"},
	{"engine/internal/remote"},
	{"engine/internal/objects"},
	{"engine/internal/tasks"},
	{"engine/access"},
	{"engine/api"},
	{"engine/handler"},
	{"engine/handler/builtin"},
	{"engine/expr/bind"},
	{"engine/handler/filter", "engine/handler/kernel"},
	{"engine/handler/helper", "engine/handler/clock"},
	{"engine/handler/interp", "engine/handler/compile"},
	{"engine/handler/compile/amd64", "engine/handler/compile/arm64"},
	{"engine/handler/compile/plan"},
	{"engine/handler/verify", "engine/handler/maps", "engine/handler/build"},
	{"engine/handler/ring"},
	{"engine/handler/program"},
	{"engine/event", "engine/expr", "engine/value"},
	{"engine/internal/inferior"},
	{"engine/internal/ptrace"},
	{"symbols/goruntime"},
	{"symbols/unwind", "symbols/location", "symbols/scope"},
	{"breakpoint", "symbols"},
	{"symbols/source", "symbols/dwarf/types"},
	{"symbols/frames", "symbols/gofile", "symbols/dwarf"},
	{"symbols/dwarf/op"},
	{"symbols/dwarf/line"},
	{"symbols/dwarf/raw"},
	{"symbols/elffile", "symbols/mangled"},
	{"symbols/objfile", "symbols/xz", "symbols/debuginfod"},
	{"arch/amd64", "arch/arm64"},
	{"procfs"},
	{"arch", "printable"},
	{"failure"},
}

// tools holds what is not part of the product: tests' helpers and programs.
const tools = "internal"

// door is the one package that may ask the kernel about other processes.
const door = "engine/internal/ptrace"

// doors are the packages that may import x/sys/unix, each with its reason.
var doors = map[string]string{
	door:                    "the door",
	"engine/handler/ring":   "shared memory, no other process",
	"engine/handler/maps":   "which pages of shared memory are held",
	"engine/handler/kernel": "perf events and eBPF, no other process",
	"engine/handler/clock":  "the time",
	"symbols/objfile":       "a file in memory",

	"bench/internal/target":    "the measured program: memory shared with it, its CPU",
	"bench/internal/contender": "the ways that ours are compared with, which share no code with them",
}

// behind are the names of package syscall that are the door's business, and
// the packages that use them all the same, each with its reason.
var behind = []string{"Ptrace", "Wait4", "Syscall", "RawSyscall", "SYS_PTRACE", "ForkExec"}

var behindToo = map[string]string{
	door:                 "the door",
	"internal/lane/init": "pid 1 of a test machine, waits for its own children",
}

// impure are the imports that a pure function has no use for; a folder stands
// for all below it.
var impure = []string{
	"C", "golang.org/x/sys", "io/fs", "io/ioutil", "net", "os", "plugin", "syscall", "unsafe",
}

// platforms end the names of files that are not compiled everywhere, as far as
// they may come up here.
var platforms = []string{
	"linux", "darwin", "freebsd", "netbsd", "openbsd", "windows", "unix",
	"386", "amd64", "arm", "arm64", "loong64", "mips64", "ppc64le", "riscv64", "s390x",
}

// rules are applied to each file by itself.
var rules = []rule{
	{"layers", checkLayers},
	{"tools", checkTools},
	{"cgo", checkCgo},
	{"door", checkDoor},
	{"pure", checkPure},
	{"joined", checkJoined},
	{"printed", checkPrinted},
	{"lent", checkLent},
	{"moved", checkMoved},
	{"named", checkNamed},
	{"halted", checkHalted},
	{"compared", checkCompared},
	{"plain", checkPlain},
}

type rule struct {
	name string
	look func(s source, tell func(line int, why string))
}

func (r rule) apply(s source) (found []breach) {
	r.look(s, func(line int, why string) { found = append(found, breach{s.name, r.name, why, line}) })
	return found
}

// within reports whether package p is folder or below it.
func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

// layer is the place of p in layers, by the longest folder that it is in, and
// that folder; -1 if it is in none.
func layer(p string) (place int, folder string) {
	place = -1
	for i, line := range layers {
		for _, f := range line {
			if within(p, f) && len(f) > len(folder) {
				place, folder = i, f
			}
		}
	}
	return place, folder
}

func checkLayers(s source, tell func(int, string)) {
	if within(s.pkg, tools) {
		return
	}
	from, _ := layer(s.pkg)
	if from < 0 {
		tell(s.line(s.file.Name), fmt.Sprintf("package %s has no place in the layers of internal/check/rules.go", s.pkg))
		return
	}
	for _, i := range s.imports {
		if i.own == "" || within(i.own, tools) {
			continue
		}
		to, folder := layer(i.own)
		own := within(i.own, s.pkg) && within(folder, s.pkg) && to == from
		if to <= from && !own {
			tell(i.line, fmt.Sprintf("%s may not import %s: imports go down the layers", s.pkg, i.own))
		}
	}
}

func checkTools(s source, tell func(int, string)) {
	for _, i := range s.imports {
		if within(i.own, tools) && !within(s.pkg, tools) {
			tell(i.line, fmt.Sprintf("%s is for tests; the product may not import it", i.own))
		}
	}
}

func checkCgo(s source, tell func(int, string)) {
	for _, i := range s.imports {
		if i.path == "C" {
			tell(i.line, "the product is one static binary without C")
		}
	}
}

func checkDoor(s source, tell func(int, string)) {
	std := "" // the name that this file has for package syscall
	for n, i := range s.imports {
		switch {
		case within(i.path, "golang.org/x/sys") && doors[s.pkg] == "":
			tell(i.line, fmt.Sprintf("only %s may import %s", door, i.path))
		case i.path == "syscall":
			std = "syscall"
			if name := s.file.Imports[n].Name; name != nil {
				std = name.Name
			}
		}
	}
	if std == "" || behindToo[s.pkg] != "" {
		return
	}
	if std == "." {
		tell(s.line(s.file.Name), "syscall imported as \".\" hides what is used of it")
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		forbidden := func(prefix string) bool { return strings.HasPrefix(sel.Sel.Name, prefix) }
		if ok && pkg.Name == std && slices.ContainsFunc(behind, forbidden) {
			tell(s.line(sel), fmt.Sprintf("only %s may use syscall.%s", door, sel.Sel.Name))
		}
		return true
	})
}

// checkLent refuses syscall.Credential. A process that is made with it has the new ids before
// it executes anything, while its memory is still that of the process that makes it (CLONE_VM
// in package syscall): another user could stop it there, and look at that memory.
func checkLent(s source, tell func(int, string)) {
	if within(s.pkg, tools) {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if name, ok := n.(*ast.Ident); ok && name.Name == "Credential" {
			tell(s.line(name), "a new process changes its ids itself, once it has memory of its own: no Credential")
		}
		return true
	})
}

// pinned are the files that keep an address as a number beside what holds the memory in its
// place.
var pinned = []string{"bench/internal/contender/perf.go"} // runtime.Pinner

// checkMoved holds that an address is made a number only where nothing can move what is there:
// as an argument of the kernel's call itself. A call of a Go function may grow the stack, and the
// runtime moves it then; the kernel would write to memory that is free, and the caller would
// read what was there before. As an operand, and as an arch.Addr (of mapped memory), a number
// may be used, too.
func checkMoved(s source, tell func(int, string)) {
	if within(s.pkg, tools) || slices.Contains(pinned, s.name) {
		return
	}
	fine := map[ast.Expr]bool{}
	pointers := map[string]bool{}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			if selected(n.Type) == "unsafe.Pointer" {
				for _, name := range n.Names {
					pointers[name.Name] = true
				}
			}
		case *ast.BinaryExpr:
			fine[n.X], fine[n.Y] = true, true
		case *ast.CallExpr:
			if name := called(n); kernelCalls[name] || name == "arch.Addr" {
				for _, arg := range n.Args {
					fine[arg] = true
				}
			}
			if to, ok := n.Fun.(*ast.Ident); ok && to.Name == "uintptr" && !fine[n] && len(n.Args) == 1 && isPointer(n.Args[0], pointers) {
				tell(s.line(n), "an address is a number as an argument of the kernel's call itself only: the stack may move")
			}
		}
		return true
	})
}

// kernelCalls are the functions that keep what their arguments point to in its place.
var kernelCalls = map[string]bool{
	"unix.Syscall": true, "unix.Syscall6": true, "unix.RawSyscall": true, "unix.RawSyscall6": true,
	"syscall.Syscall": true, "syscall.Syscall6": true, "syscall.RawSyscall": true, "syscall.RawSyscall6": true,
}

// isPointer reports whether an expression is an unsafe pointer: one that is made here, or a
// parameter.
func isPointer(e ast.Expr, pointers map[string]bool) bool {
	switch e := e.(type) {
	case *ast.CallExpr:
		return called(e) == "unsafe.Pointer" || called(e) == "unsafe.Add"
	case *ast.Ident:
		return pointers[e.Name]
	}
	return false
}

// halter is the one package that halts tasks.
const halter = "engine/internal/tasks"

// checkHalted holds that only what halts tasks says that they stand.
func checkHalted(s source, tell func(int, string)) {
	if s.pkg == halter {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && selected(sel) == "breakpoint.NewPause" {
			tell(s.line(sel), "only "+halter+" halts tasks, and says that they stand")
		}
		return true
	})
}

// spoken are the folders whose comments are in plain English by now: the subject is named.
var spoken = []string{
	"arch", "bench", "breakpoint", "cmd", "engine", "failure", "printable", "procfs", "symbols",
}

// vague are words that stand for a subject that is not named.
var vague = regexp.MustCompile(`(?i)\b(we|us|ours?|he|his|him|nobody|somebody|whoever|who)\b`)

// checkPlain holds comments there to it, and texts everywhere: errors, help, warnings.
func checkPlain(s source, tell func(int, string)) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		text, ok := n.(*ast.BasicLit)
		if ok && text.Kind == token.STRING && !within(s.pkg, tools) && !within(s.pkg, "bench") && !ast.IsGenerated(s.file) {
			if word := vague.FindString(text.Value); word != "" {
				tell(s.line(text), fmt.Sprintf("a text says %q: name the subject (the tracer, the program, the task)", word))
			}
		}
		return true
	})
	if ast.IsGenerated(s.file) || !slices.ContainsFunc(spoken, func(folder string) bool { return within(s.pkg, folder) }) {
		return
	}
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if word := vague.FindString(c.Text); word != "" {
				tell(s.line(c), fmt.Sprintf("a comment says %q: name the subject (the tracer, the program, the task)", word))
			}
		}
	}
}

// checkNamed holds that only package procfs, and the door, name another task's files in /proc.
// This process's own (/proc/self), and those of the machine, are no other's.
func checkNamed(s source, tell func(int, string)) {
	if within(s.pkg, tools) || within(s.pkg, "bench") || s.pkg == "procfs" || s.pkg == door {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		text, ok := n.(*ast.BasicLit)
		if ok && text.Kind == token.STRING && (strings.Contains(text.Value, "/proc/%") || text.Value == `"/proc/"`) {
			tell(s.line(text), "another task's files in /proc are read by package procfs")
		}
		return true
	})
}

func checkPure(s source, tell func(int, string)) {
	if !within(s.pkg, "arch") {
		return
	}
	const pure = "arch is pure functions, the same on every machine: "
	for _, i := range s.imports {
		if slices.ContainsFunc(impure, func(p string) bool { return within(i.path, p) }) {
			tell(i.line, pure+"no "+i.path)
		}
	}
	if s.tagged > 0 {
		tell(s.tagged, pure+"no build constraint")
	}
	words := strings.Split(strings.TrimSuffix(path.Base(s.name), ".go"), "_")
	if last := words[len(words)-1]; len(words) > 1 && slices.Contains(platforms, last) {
		tell(1, pure+"no file name that ends in _"+last)
	}
}

// made are the calls that make an error of what has happened, and do nothing.
var made = []string{"fmt.Errorf", "errors.New", "errors.Join", "failure.Unsupportedf"}

// checkJoined holds that no statement does two things whose errors it joins: the second is
// done though the first has failed. What must be done all the same is a statement of its
// own, with the error so far beside it.
func checkJoined(s source, tell func(int, string)) {
	if within(s.pkg, "bench") || within(s.pkg, tools) {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || called(call) != "errors.Join" && !gathers(call) {
			return true
		}
		does := 0
		for _, arg := range call.Args {
			if arg, ok := arg.(*ast.CallExpr); ok && !slices.Contains(made, called(arg)) {
				does++
			}
		}
		if does > 1 {
			tell(s.line(call), "errors of several calls in one: an error must stop what comes behind it; write a clean-up as a statement of its own")
		}
		return true
	})
}

// gathers reports whether a call appends to a list of errors.
func gathers(call *ast.CallExpr) bool {
	fun, ok := call.Fun.(*ast.Ident)
	if !ok || fun.Name != "append" || len(call.Args) == 0 {
		return false
	}
	list, ok := call.Args[0].(*ast.Ident)
	return ok && list.Name == "errs"
}

// classed are the names of errors that others wrap.
var classed = regexp.MustCompile(`^([Ee]rr[A-Z]\w*|io\.EOF|context\.(Canceled|DeadlineExceeded)|\w+\.Err[A-Z]\w*)$`)

// checkCompared holds that errors are told apart by errors.Is: what wraps one is none to ==.
// The methods by which errors.Is asks compare.
func checkCompared(s source, tell func(int, string)) {
	const why = "is compared by errors.Is: an error that wraps it is the same"
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "Is" {
			continue
		}
		ast.Inspect(d, func(n ast.Node) bool {
			b, ok := n.(*ast.BinaryExpr)
			if !ok || b.Op != token.EQL && b.Op != token.NEQ || isNil(b.X) || isNil(b.Y) {
				return true
			}
			for _, e := range []ast.Expr{b.X, b.Y} {
				if name := nameOf(e); classed.MatchString(name) {
					tell(s.line(e), name+" "+why)
				}
			}
			return true
		})
	}
}

func isNil(e ast.Expr) bool { return nameOf(e) == "nil" }

// nameOf is an expression's text, as far as it is NAME or PACKAGE.NAME.
func nameOf(e ast.Expr) string {
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return selected(e)
}

// printers are the files that write to terminals what package printable does not: where
// the cursor goes.
var printers = []string{"cmd/ptracer/internal/show/screen.go"}

// direct is how the names of functions begin that write text as it is.
var direct = []string{"fmt.Fprint", "fmt.Print", "io.WriteString"}

// checkPrinted holds that commands write text by package printable, which tells the ends of
// lines from those that a name has; and so does all that writes to standard output or error.
// JSON is no text, and the parser's helps are our own.
func checkPrinted(s source, tell func(int, string)) {
	if within(s.pkg, tools) || slices.Contains(printers, s.name) {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !slices.ContainsFunc(direct, func(prefix string) bool { return strings.HasPrefix(called(call), prefix) }) {
			return true
		}
		out := strings.HasPrefix(called(call), "fmt.Print") || len(call.Args) > 0 && slices.Contains([]string{"os.Stdout", "os.Stderr"}, selected(call.Args[0]))
		if out || within(s.pkg, "cmd") {
			tell(s.line(call), "text for people goes by package printable: a name in it may have what a terminal obeys")
		}
		return true
	})
}

// called is the name of what a call calls, as far as it is PACKAGE.FUNCTION.
func called(call *ast.CallExpr) string { return selected(call.Fun) }

// selected is an expression's text, as far as it is PACKAGE.NAME.
func selected(e ast.Expr) string {
	if sel, ok := e.(*ast.SelectorExpr); ok {
		if pkg, ok := sel.X.(*ast.Ident); ok {
			return pkg.Name + "." + sel.Sel.Name
		}
	}
	return ""
}

// onePicker holds that one file of the product imports the instruction sets,
// the one with the function that picks.
func onePicker(sources []source) (found []breach) {
	first := ""
	for _, s := range sources {
		for _, i := range s.imports {
			if within(s.pkg, "arch") || within(s.pkg, tools) || !strings.HasPrefix(i.own, "arch/") {
				continue
			}
			if first == "" {
				first = s.name
			}
			if s.name != first {
				found = append(found, breach{s.name, "one picker", fmt.Sprintf("%s imports %s; %s does already, and one place picks the instruction set", s.pkg, i.own, first), i.line})
			}
		}
	}
	return found
}
