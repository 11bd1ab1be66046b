package symbols

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols/objfile"
	"github.com/ptracer/ptracer/symbols/xz"
)

// withoutFiles runs f while the process can open nothing, as though it had all the descriptors
// open that it may.
func withoutFiles(t *testing.T, f func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 0, Max: old.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	f()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
}

// TestUnreadModules: objects that can't be opened for want of descriptors are told with the
// reason and what helps; those that were opened before are known without one.
func TestUnreadModules(t *testing.T) {
	path := compile(t, "gcc", "-O2", "loader.c")
	pid, _ := start(t, exec.Command(path), 1)
	maps, err := procfs.Maps(pid)
	if err != nil {
		t.Fatal(err)
	}
	var c Cache
	defer c.Close()
	var unread []*objfile.UnreadError
	withoutFiles(t, func() { _, unread = c.Modules(pid, maps) })
	found := false
	for _, u := range unread {
		found = found || u.Error() == "cannot open "+path+": too many open files (raise 'ulimit -n')"
		if !errors.Is(u, objfile.ErrUnread) || !errors.Is(u, syscall.EMFILE) {
			t.Error(u)
		}
	}
	if !found {
		t.Errorf("%s is not told: %v", path, unread)
	}
	before, _ := c.Modules(pid, maps)
	var after []Module
	withoutFiles(t, func() { after, unread = c.Modules(pid, maps) })
	for _, u := range unread {
		if u.Path != "[vdso]" { // which is read anew
			t.Errorf("opened before, and %v", u)
		}
	}
	if len(after)+len(unread) != len(before) || len(before) < 3 {
		t.Errorf("%d modules of %d", len(after), len(before))
	}
}

// TestUnreadDebugFile: a name that is not found may be in a debug file that could not be read.
func TestUnreadDebugFile(t *testing.T) {
	path, debug := separate(t, "-Wl,--build-id=none")
	forge.Run(t, "objcopy", "--add-gnu-debuglink="+debug, path)
	f := open(t, path)
	withoutFiles(t, func() {
		if _, err := f.Lookup("helper"); err != nil {
			t.Error(err)
		}
	})
	err := f.Unread()
	if err == nil || !strings.HasPrefix(err.Error(), "cannot open ") || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("told of the debug file: %v", err)
	}
	if err != nil && !strings.Contains(err.Error(), "ulimit -n") {
		t.Error(err)
	}
}

// TestUnreadMiniDebug: the same of one within the file, which is damaged.
func TestUnreadMiniDebug(t *testing.T) {
	path, debug := separate(t)
	if err := os.WriteFile(debug+".xz", []byte("no xz data at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	forge.Run(t, "objcopy", "--add-section", ".gnu_debugdata="+debug+".xz", path)
	f := open(t, path)
	if fns, err := f.Lookup("helper"); err != nil || len(fns) != 0 {
		t.Errorf("%v, %v", fns, err)
	}
	want := "cannot read " + path + ": .gnu_debugdata: " + xz.ErrDamaged.Error()
	if err := f.Unread(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
