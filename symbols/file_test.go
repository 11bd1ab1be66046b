package symbols

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// nm lists a file's functions by address, as the tool of that name sees them.
func nm(t *testing.T, path string, flags ...string) map[arch.Addr][]string {
	all := map[arch.Addr][]string{}
	lines := bufio.NewScanner(strings.NewReader(forge.Run(t, "nm", append(flags, path)...)))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || !strings.Contains("tTwWi", f[1]) {
			continue
		}
		a, err := strconv.ParseUint(f[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		all[arch.Addr(a)] = append(all[arch.Addr(a)], elffile.Unversioned(f[2]))
	}
	return all
}

// compareNM holds the functions of a file against nm.
func compareNM(t *testing.T, f *File, want map[arch.Addr][]string) {
	t.Helper()
	fns, err := f.Functions()
	if err != nil {
		t.Fatal(err)
	}
	got := map[arch.Addr][]string{}
	for i, fn := range fns {
		got[fn.Addr] = fn.Names()
		if fn.Size == 0 {
			t.Errorf("%s at %s has no size", fn.Name, fn.Addr)
		}
		if i > 0 && fns[i-1].Addr >= fn.Addr {
			t.Errorf("%s at %s is not behind %s", fn.Name, fn.Addr, fns[i-1].Name)
		}
	}
	for a, names := range want {
		for _, name := range names {
			if !slices.Contains(got[a], name) && f.obj.Executable(uint64(a)) {
				t.Errorf("nm has %s at %s, we have %q", name, a, got[a])
			}
		}
	}
	for a, names := range got {
		for _, name := range names {
			if !slices.Contains(want[a], name) {
				t.Errorf("we have %s at %s, nm has %q", name, a, want[a])
			}
		}
	}
}

// mappingSymbol is a name that tells code from data on arm64.
var mappingSymbol = regexp.MustCompile(`^\$[xdat](\.|$)`)

func TestFunctionsAgainstNM(t *testing.T) {
	for _, compiler := range compilers {
		for _, flags := range [][]string{{}, {"-no-pie"}, {"-static"}, {"-static-pie"}, {"-g", "-gz"}} {
			t.Run(compiler+strings.Join(flags, ""), func(t *testing.T) {
				t.Parallel()
				path := compile(t, compiler, append([]string{"-O2", "names.c", "other.c"}, flags...)...)
				want := nm(t, path)
				// nm takes labels for functions, where there is no type.
				for a, names := range want {
					want[a] = slices.DeleteFunc(names, func(n string) bool { return mappingSymbol.MatchString(n) })
				}
				f := open(t, path)
				fns, err := f.Functions()
				if err != nil {
					t.Fatal(err)
				}
				for _, fn := range fns {
					for _, name := range fn.Names() {
						if !slices.Contains(want[fn.Addr], name) {
							t.Errorf("we have %s at %s, nm has %q", name, fn.Addr, want[fn.Addr])
						}
					}
				}
				checkNames(t, f, want)
			})
		}
	}
}

// checkNames looks every function of names.c up, before and after the whole
// table is there.
func checkNames(t *testing.T, f *File, want map[arch.Addr][]string) {
	for name, n := range map[string]int{"plain": 1, "plain_alias": 1, "helper": 2, "weak_one": 1, "slow": 1, "fast": 1,
		"main": 1, "_start": 1, "data_object": 0, "nothing": 0, "chosen": 1} {
		for _, again := range []bool{false, true} {
			g := f
			if !again {
				g = open(t, f.Name())
			}
			fns, err := g.Lookup(name)
			if err != nil || len(fns) != n {
				t.Errorf("Lookup(%s) = %+v, %v; want %d (table there: %v)", name, fns, err, n, again)
			}
			for _, fn := range fns {
				if !slices.Contains(want[fn.Addr], name) || fn.Size == 0 {
					t.Errorf("Lookup(%s) = %+v, nm has %q", name, fn, want[fn.Addr])
				}
				at, ok := g.FunctionAt(fn.Addr + arch.Addr(fn.Size) - 1)
				if !ok || at.Addr != fn.Addr {
					t.Errorf("FunctionAt(last byte of %s) = %+v, %v", name, at, ok)
				}
				one, err := g.Lookup(fn.Unique())
				if err != nil || len(one) != 1 || one[0].Addr != fn.Addr {
					t.Errorf("Lookup(%s) = %+v, %v", fn.Unique(), one, err)
				}
			}
		}
	}
	fns, _ := f.Lookup("plain_alias")
	if len(fns) != 1 || fns[0].Name != "plain" || !slices.Contains(fns[0].Aliases, "plain_alias") || fns[0].Local {
		t.Errorf("alias: %+v", fns)
	}
	if fns, _ := f.Lookup("helper"); len(fns) != 2 || !fns[0].Local || fns[0].Addr == fns[1].Addr {
		t.Errorf("static functions of one name: %+v", fns)
	}
	if fns, _ := f.Lookup("chosen"); len(fns) != 1 || !fns[0].Ifunc {
		t.Errorf("resolver: %+v", fns)
	}
}

// TestLookupIsFunctions: for every function of real files, looking it up alone
// gives what the whole table has.
func TestLookupIsFunctions(t *testing.T) {
	for _, path := range realFiles(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			f := open(t, path)
			fns, err := f.Functions()
			if err != nil {
				t.Fatal(err)
			}
			g := open(t, path)
			step := max(1, len(fns)/200)
			for i := 0; i < len(fns); i += step {
				g.lookups.Store(0)
				for _, name := range fns[i].Names() {
					got, err := g.Lookup(name)
					if err != nil || !slices.ContainsFunc(got, func(fn Function) bool { return fmt.Sprint(fn) == fmt.Sprint(fns[i]) }) {
						t.Errorf("Lookup(%s) = %+v, %v\nwant %+v", name, got, err, fns[i])
					}
				}
			}
		})
	}
}

// realFiles are programs and libraries of this machine.
func realFiles(t testing.TB) (paths []string) {
	for _, name := range []string{"bash", "go"} {
		paths = append(paths, forge.Tool(t, name))
	}
	maps, err := procfs.Maps(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		if strings.Contains(m.Path, ".so") {
			paths = append(paths, m.Path)
		}
	}
	for _, pattern := range []string{"/lib/*/libc.so.6", "/usr/lib/*/libstdc++.so.6", "/usr/lib/*/libpython3*.so.1.0", "/usr/lib/*/libcrypto.so.3"} {
		found, _ := filepath.Glob(pattern)
		paths = append(paths, found...)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// TestDynamicAgainstNM: libraries that are stripped have what nm -D has.
func TestDynamicAgainstNM(t *testing.T) {
	for _, compiler := range compilers {
		strip := strings.TrimSuffix(compiler, "gcc") + "strip"
		for _, style := range []string{"--hash-style=gnu", "--hash-style=sysv"} {
			path := compile(t, compiler, "-O2", "-shared", "-fPIC", "-Wl,"+style, "names.c", "other.c")
			forge.Run(t, strip, path)
			f := open(t, path)
			compareNM(t, f, nm(t, path, "-D"))
			for name, n := range map[string]int{"plain": 1, "helper": 0, "other": 1, "main": 1, "": 0, "getenv": 0} {
				if fns, err := open(t, path).Lookup(name); err != nil || len(fns) != n {
					t.Errorf("%s %s: Lookup(%s) = %+v, %v; want %d", compiler, style, name, fns, err, n)
				}
			}
		}
	}
}

// TestNoSections: a program whose section headers are gone has its dynamic
// symbols still.
func TestNoSections(t *testing.T) {
	for _, style := range []string{"gnu", "sysv"} {
		path := compile(t, "gcc", "-O2", "-shared", "-fPIC", "-Wl,--hash-style="+style, "names.c", "other.c")
		full := nm(t, path, "-D")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		clear(b[40:48]) // e_shoff
		clear(b[58:64])
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
		f := open(t, path)
		compareNM(t, f, full)
		if fns, err := open(t, path).Lookup("plain"); err != nil || len(fns) != 1 {
			t.Errorf("%s: Lookup(plain) = %+v, %v", style, fns, err)
		}
	}
}

func TestHeaders(t *testing.T) {
	path := compile(t, "gcc", "-O2", "-Wl,--build-id=0x0123456789abcdef", "names.c", "other.c")
	f := open(t, path)
	if got := f.BuildID(); got != "0123456789abcdef" {
		t.Errorf("BuildID %q", got)
	}
	if f.Type() != elf.ET_DYN || f.Machine() != elf.EM_X86_64 || f.IsGo() || f.Name() != path {
		t.Errorf("%v %v %v %s", f.Type(), f.Machine(), f.IsGo(), f.Name())
	}
	if !strings.HasPrefix(filepath.Base(f.Interp()), "ld-linux") {
		t.Errorf("Interp %q", f.Interp())
	}
	if fn, ok := f.FunctionAt(f.Entry()); !ok || fn.Name != "_start" {
		t.Errorf("entry is in %+v", fn)
	}
	if f := open(t, forge.Tool(t, "go")); !f.IsGo() {
		t.Error("go is no Go program")
	}
}

func TestText(t *testing.T) {
	path := compile(t, "gcc", "-O2", "names.c", "other.c")
	f := open(t, path)
	fns, err := f.Lookup("plain")
	if err != nil || len(fns) != 1 {
		t.Fatal(fns, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	code := make([]byte, fns[0].Size)
	if err := f.Text(fns[0].Addr, code); err != nil || !strings.Contains(string(b), string(code)) {
		t.Errorf("%x, %v", code, err)
	}
	// The whole last page is mapped.
	o, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	const pageSize = 4096
	text := o.Section(".text")
	page := arch.Addr(text.Addr+text.Size) &^ (pageSize - 1)
	if err := f.Text(page, make([]byte, pageSize)); err != nil {
		t.Error(err)
	}
	for _, a := range []arch.Addr{0, page + 16*pageSize, ^arch.Addr(0)} {
		if err := f.Text(a, code); !errors.Is(err, ErrNoText) || !errors.Is(err, ErrNotFound) {
			t.Errorf("Text(%s): %v", a, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]error{
		write("empty", ""): elffile.ErrFormat,
		write("text", strings.Repeat("hello world\n", 100)):            elffile.ErrFormat,
		write("32", "\x7fELF\x01\x01\x01"+strings.Repeat("\x00", 100)): errors.ErrUnsupported,
		dir:                        elffile.ErrFormat,
		filepath.Join(dir, "gone"): os.ErrNotExist,
		"/dev/null":                elffile.ErrFormat,
	} {
		if f, err := Open(path); !errors.Is(err, want) {
			t.Errorf("%s: got %v, %v; want %v", path, f, err, want)
		}
	}
}

// TestConcurrentUse: many goroutines ask one File, some for the whole table.
func TestConcurrentUse(t *testing.T) {
	f := open(t, forge.Tool(t, "bash"))
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for _, name := range []string{"main", "no_such_name", "xmalloc", "execute_command"} {
				fns, err := f.Lookup(name)
				if err != nil {
					t.Error(err)
				}
				for _, fn := range fns {
					if _, err := f.Exits(isaOf(f), fn); err != nil {
						t.Error(err)
					}
				}
			}
			if i%4 == 0 {
				if all, err := f.Functions(); err != nil || len(all) == 0 {
					t.Errorf("%d functions, %v", len(all), err)
				}
			}
		})
	}
	wait.Wait()
}
