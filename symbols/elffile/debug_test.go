package elffile

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ptracer/ptracer/internal/skip"
)

// separate splits a library: its debug file, and itself stripped.
func separate(t *testing.T, flags ...string) (path, debug string) {
	path = filepath.Join(t.TempDir(), "prog")
	sources := []string{filepath.Join("..", "testdata", "names.c"), filepath.Join("..", "testdata", "other.c")}
	run(t, "gcc", append(append([]string{"-o", path, "-g", "-O2", "-shared", "-fPIC"}, sources...), flags...)...)
	debug = path + ".debug"
	run(t, "objcopy", "--only-keep-debug", path, debug)
	run(t, "strip", path)
	return path, debug
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		skip.Missing(t, name)
	}
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// hasStatic reports whether a debug file with static functions of names.c is found.
func hasStatic(t *testing.T, path string) bool {
	t.Helper()
	b := read(t, path)
	o, err := New(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	debug, err := o.DebugFile(path, "")
	if errors.Is(err, ErrNoTable) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	is := func(name string) bool { return name == "helper" }
	if err := debug.Named("helper", true, is, func(Symbol) { n++ }); err != nil {
		t.Fatal(err)
	}
	return n == 2
}

// TestDebugDirs: the debug file is found below the folder for them, if it is this build's.
func TestDebugDirs(t *testing.T) {
	old := debugDirs
	t.Cleanup(func() { debugDirs = old })
	debugDirs = []string{t.TempDir()}
	path, debug := separate(t, "-Wl,--build-id=0xabcdef0123")
	place := func(to string) {
		t.Helper()
		to = filepath.Join(debugDirs[0], to)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(debug, to)); err != nil {
			t.Fatal(err)
		}
		debug = to
	}
	place(".build-id/ab/cdef0123.debug")
	if !hasStatic(t, path) {
		t.Error("debug file is not found by its build-id")
	}
	place(".build-id/ab/other.debug")
	if hasStatic(t, path) {
		t.Error("debug file is found by nothing")
	}
	run(t, "objcopy", "--add-gnu-debuglink="+debug, path)
	place(filepath.Join(filepath.Dir(path), "other.debug"))
	if !hasStatic(t, path) {
		t.Error("debug file is not found below the debug folder")
	}
	// One of another build.
	other, theirs := separate(t, "-Wl,--build-id=0xabcdef9999")
	_ = other
	if err := errors.Join(os.Remove(debug), os.Rename(theirs, debug)); err != nil {
		t.Fatal(err)
	}
	if hasStatic(t, path) {
		t.Error("a debug file of another build is believed")
	}
}

// TestUnreadELF: what can't be read is not taken for a file of another kind.
func TestUnreadELF(t *testing.T) {
	if is, err := isELF(broken{}); is || !errors.Is(err, syscall.EIO) {
		t.Errorf("%v, %v", is, err)
	}
	if is, err := isELF(strings.NewReader("\x7fE")); is || err != nil {
		t.Errorf("a short file: %v, %v", is, err)
	}
}

// broken is a file on a disk that is.
type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

// TestNotRegulaReader: what is no file is no debug file, and is not opened.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Symlink("/dev/tty", link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, link, "/dev/zero", dir} {
		if _, err := openDebug(&Object{}, path, "", 0); !errors.Is(err, ErrNoTable) {
			t.Errorf("%s was taken for a debug file", path)
		}
	}
	// A writer that opens a FIFO without waiting finds out whether a reader has it open.
	if fd, err := syscall.Open(fifo, syscall.O_WRONLY|syscall.O_NONBLOCK, 0); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("the FIFO is open: %v", err)
		syscall.Close(fd)
	}
}
