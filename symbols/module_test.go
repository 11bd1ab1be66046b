package symbols

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
)

// start runs a program that prints addresses and then waits; it is ended with
// the test.
func start(t *testing.T, cmd *exec.Cmd, lines int) (pid int, addrs []arch.Addr) {
	t.Helper()
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	scan := bufio.NewScanner(out)
	for range lines {
		if !scan.Scan() {
			t.Fatalf("%v: ended early: %v", cmd, scan.Err())
		}
		a, err := strconv.ParseUint(strings.TrimPrefix(scan.Text(), "0x"), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, arch.Addr(a))
	}
	return cmd.Process.Pid, addrs
}

// modules are those of a process, by base name; the main program's is "main".
func modules(t *testing.T, pid int) map[string]Module {
	t.Helper()
	maps, err := procfs.Maps(pid)
	if err != nil {
		t.Fatal(err)
	}
	var c Cache
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	mods, unread := c.Modules(pid, maps)
	for _, err := range unread {
		t.Error(err)
	}
	byName := map[string]Module{}
	for _, m := range mods {
		name := filepath.Base(m.Path)
		if m.Main {
			name = "main"
		}
		if _, twice := byName[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		byName[name] = m
	}
	return byName
}

// expect holds that a module has a function where the process says it is.
func expect(t *testing.T, m Module, name string, at arch.Addr) {
	t.Helper()
	if m.File == nil {
		t.Errorf("no module with %s", name)
		return
	}
	fns, err := m.File.Lookup(name)
	if err != nil || len(fns) != 1 || m.Runtime(fns[0].Addr) != at || !m.Contains(at) || m.Vaddr(at) != fns[0].Addr {
		t.Errorf("%s in %s: %+v + %s, %v; want %s", name, m.Path, fns, m.Bias, err, at)
	}
}

func TestModules(t *testing.T) {
	lib := compile(t, "gcc", "-O2", "-shared", "-fPIC", "names.c", "other.c")
	for _, flags := range [][]string{{}, {"-no-pie"}, {"-Wl,-z,noseparate-code"}, {"-static-pie"}, {"-static"}} {
		t.Run(strings.Join(flags, ""), func(t *testing.T) {
			path := compile(t, "gcc", append([]string{"-O2", "loader.c", "-w"}, flags...)...)
			static := len(flags) > 0 && strings.HasPrefix(flags[0], "-static")
			args, lines := []string{lib}, 2
			if static {
				args, lines = nil, 1
			}
			pid, addrs := start(t, exec.Command(path, args...), lines)
			mods := modules(t, pid)
			expect(t, mods["main"], "mark", addrs[len(addrs)-1])
			if _, ok := mods["[vdso]"]; !ok {
				t.Error("no vdso")
			}
			loaders := 0
			for _, m := range mods {
				if m.Loader {
					loaders++
				}
			}
			if static {
				if len(mods) != 2 || loaders != 0 {
					t.Errorf("%d modules, %d loaders", len(mods), loaders)
				}
				return
			}
			expect(t, mods["prog"], "plain", addrs[0])
			if mods["libc.so.6"].File == nil || loaders != 1 {
				t.Errorf("%d loaders, or no libc: %v", loaders, mods)
			}
			if mods["main"].Path != path {
				t.Errorf("main is %s", mods["main"].Path)
			}
		})
	}
}

// TestModulesMusl: musl's C library is its loader.
func TestModulesMusl(t *testing.T) {
	lib := compile(t, "musl-gcc", "-O2", "-shared", "-fPIC", "other.c")
	path := compile(t, "musl-gcc", "-O2", "loader.c")
	if out, err := exec.Command(path, "/nonexistent").CombinedOutput(); err != nil && !strings.Contains(string(out), "/nonexistent") {
		skip.Missing(t, "musl's dynamic loader")
	}
	pid, addrs := start(t, exec.Command(path, lib), 2)
	mods := modules(t, pid)
	expect(t, mods["main"], "mark", addrs[1])
	found := false
	for _, m := range mods {
		if strings.HasPrefix(m.Base(), "libc") || strings.HasPrefix(m.Base(), "ld-musl-") {
			found = true
			if fns, err := m.File.Lookup("malloc"); err != nil || len(fns) != 1 || !m.Loader {
				t.Errorf("malloc in %s: %+v, %v", m.Path, fns, err)
			}
		}
	}
	if !found {
		t.Errorf("no libc among %v", mods)
	}
}

func TestVDSO(t *testing.T) {
	m, ok := modules(t, os.Getpid())["[vdso]"]
	if !ok {
		skip.Missing(t, "a vdso")
	}
	fns, err := m.File.Functions()
	i := slices.IndexFunc(fns, func(fn Function) bool { return strings.HasSuffix(fn.Name, "clock_gettime") })
	if err != nil || i < 0 {
		t.Fatalf("%+v, %v", fns, err)
	}
	if !m.Contains(m.Runtime(fns[i].Addr)) || m.File.Machine() != isaOf(m.File).Machine() {
		t.Errorf("%+v", fns[i])
	}
	if exits, err := m.File.Exits(isaOf(m.File), fns[i]); err != nil || len(exits) == 0 {
		t.Errorf("exits %v, %v", exits, err)
	}
}

// TestDeletedModules: files that have no name any more, or another file's, are
// read all the same.
func TestDeletedModules(t *testing.T) {
	if os.Geteuid() != 0 {
		skip.Missing(t, "root, for /proc/PID/map_files")
	}
	lib := compile(t, "gcc", "-O2", "-shared", "-fPIC", "names.c", "other.c")
	path := compile(t, "gcc", "-O2", "loader.c")
	pid, addrs := start(t, exec.Command(path, lib), 2)
	if err := os.Remove(lib); err != nil {
		t.Fatal(err)
	}
	// The program is replaced by another.
	other := compile(t, "gcc", "-O2", "exits.c", "calls.c", "exits_other.c")
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	mods := modules(t, pid)
	expect(t, mods["main"], "mark", addrs[1])
	expect(t, mods["prog"], "plain", addrs[0])
	if !mods["prog"].Deleted {
		t.Error("not told to be deleted")
	}
}

// TestOtherNamespace: a process in another mount namespace has files at paths
// where there are none, or others, for us; its separate debug files too.
func TestOtherNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		skip.Missing(t, "root, for a mount namespace")
	}
	forge.Tool(t, "unshare")
	dir := t.TempDir()
	lib, debug := separate(t, "-Wl,--build-id=none")
	forge.Run(t, "objcopy", "--add-gnu-debuglink="+debug, lib)
	path := compile(t, "gcc", "-O2", "loader.c")
	script := `mount -t tmpfs none "$1" && cp "$2" "$1/main" && cp "$3" "$1/lib" && cp "$4" "$1/prog.debug" && exec "$1/main" "$1/lib"`
	pid, addrs := start(t, exec.Command("unshare", "-m", "sh", "-c", script, "sh", dir, path, lib, debug), 2)
	if _, err := os.Stat(filepath.Join(dir, "main")); err == nil {
		t.Fatal("the namespace is ours")
	}
	mods := modules(t, pid)
	expect(t, mods["main"], "mark", addrs[1])
	expect(t, mods["lib"], "plain", addrs[0])
	fns, err := mods["lib"].File.Lookup("helper")
	if err != nil || len(fns) != 2 {
		t.Errorf("helper, from the namespace's debug file: %+v, %v", fns, err)
	}
}

func TestModulesOfGone(t *testing.T) {
	path := compile(t, "gcc", "-O2", "loader.c")
	cmd := exec.Command(path)
	pid, _ := start(t, cmd, 1)
	maps, err := procfs.Maps(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	mods, unread := new(Cache).Modules(pid, maps)
	if len(unread) == 0 || len(mods) != 0 {
		t.Errorf("%v, %v", mods, unread)
	}
	for _, err := range unread {
		if !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
}

// TestCache: one File for one file, however it is come by.
func TestCache(t *testing.T) {
	path := compile(t, "gcc", "-O2", "loader.c")
	var c Cache
	defer c.Close()
	files := map[*File]bool{}
	for range 2 {
		pid, _ := start(t, exec.Command(path), 1)
		maps, err := procfs.Maps(pid)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			mods, unread := c.Modules(pid, maps)
			for _, err := range unread {
				t.Fatal(err)
			}
			for _, m := range mods {
				if m.Main {
					files[m.File] = true
				}
			}
		}
	}
	if len(files) != 1 {
		t.Errorf("%d Files for one program", len(files))
	}
}
