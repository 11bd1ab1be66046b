package symbols

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// TestNotRegular opens what is no file: it is refused at once, and not opened.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Symlink("/dev/tty", link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, link, "/dev/zero", dir} {
		if _, err := Open(path); !errors.Is(err, elffile.ErrFormat) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	// A writer that opens a FIFO without waiting finds out whether a reader has it open.
	if fd, err := syscall.Open(fifo, syscall.O_WRONLY|syscall.O_NONBLOCK, 0); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("the FIFO is open: %v", err)
		syscall.Close(fd)
	}
}

// TestOtherDevice: a file that has the inode number of the mapped one, and its path, but lies
// on another device is not taken for it.
func TestOtherDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		skip.Missing(t, "root, for a mount namespace")
	}
	forge.Tool(t, "unshare")
	path := compile(t, "gcc", "-O2", "loader.c")
	dir := t.TempDir()
	// The first file of each tmpfs has the same number.
	script := `mount -t tmpfs none "$1" && cp "$2" "$1/main" && exec 9<"$1" && mount -t tmpfs none "$1" && cp "$2" "$1/main" &&
		exec "/proc/self/fd/9/main"`
	pid, _ := start(t, exec.Command("unshare", "-m", "sh", "-c", script, "sh", dir, path), 1)
	m := mappingOf(t, pid, filepath.Join(dir, "main"))
	for name, want := range map[string]bool{"exe": true, "root" + m.Path: false} {
		f, err := objfile.Open(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		st, err := objfile.Stat(f)
		if err != nil || st.Ino != m.Inode {
			t.Errorf("%s has inode %d, the mapped one %d", name, st.Ino, m.Inode)
		}
		if got := objfile.IsFileOf(f, m); got != want {
			t.Errorf("%s is the mapped file: %v, want %v", name, got, want)
		}
		f.Close()
	}
}

// TestStacked: a file on a file system that lies on another is known by what it is, be the
// numbers in /proc/PID/maps those of stat(2) or not.
func TestStacked(t *testing.T) {
	if os.Geteuid() != 0 {
		skip.Missing(t, "root, for a mount namespace")
	}
	forge.Tool(t, "unshare")
	path := compile(t, "gcc", "-O2", "loader.c")
	dir := t.TempDir()
	script := `cd "$1" && mkdir low upper all && cp "$2" low/main && cp "$2" low/other && mount -t tmpfs none upper && mkdir upper/up upper/work &&
		{ mount -t overlay -o lowerdir=low,upperdir=upper/up,workdir=upper/work overlay all || { echo 0; exec cat; }; } && exec all/main`
	pid, addrs := start(t, exec.Command("unshare", "-m", "sh", "-c", script, "sh", dir, path), 1)
	if addrs[0] == 0 {
		skip.Missing(t, "overlayfs")
	}
	m := mappingOf(t, pid, filepath.Join(dir, "all/main"))
	for name, want := range map[string]bool{"main": true, "other": false} {
		f, err := objfile.Open(fmt.Sprintf("/proc/%d/root%s/all/%s", pid, dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := objfile.IsFileOf(f, m); got != want {
			t.Errorf("%s is the mapped file: %v, want %v", name, got, want)
		}
		f.Close()
	}
}

// mappingOf is where a process has a file mapped.
func mappingOf(t *testing.T, pid int, path string) procfs.Mapping {
	t.Helper()
	maps, err := procfs.Maps(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		if m.Path == path {
			return m
		}
	}
	t.Fatalf("%s is not mapped: %+v", path, maps)
	return procfs.Mapping{}
}
