package resident

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
)

func TestStore(t *testing.T) {
	child := exec.Command(fixture.Path(t, "loop"), "1000000", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { child.Process.Kill(); child.Wait() }
	defer end()
	s, err := Create(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	f, err := s.NewFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Find(child.Process.Pid); !errors.Is(err, ErrNone) {
		t.Errorf("found before there is a note: %v", err)
	}
	want := Note{Command: "sleep", Planted: time.Unix(1, 0).UTC(),
		Probes:   []Probe{{Location: "main", Handler: 0, Places: []Place{{Name: "sleep:main", Addr: 1, Before: 2, Exit: true, File: filepath.Base(f.Name()), N: 3}}}},
		Handlers: []Handler{{Name: "hist"}}}
	if err := s.Save(want); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(child.Process.Pid); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	for _, alive := range []bool{true, false} {
		if !alive {
			end()
		}
		found, err := Find(child.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		n, err := found.Load()
		n.Version, n.PID, n.Start = 0, 0, 0
		if d := cmp.Diff(want, n); err != nil || d != "" {
			t.Errorf("%v %s", err, d)
		}
		if found.Alive() != alive {
			t.Errorf("alive: %v", !alive)
		}
	}
	if _, err := s.Open("../" + filepath.Base(s.Dir()) + "/" + noteFile); !errors.Is(err, ErrNote) {
		t.Errorf("a file elsewhere: %v", err)
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(child.Process.Pid); !errors.Is(err, ErrNone) {
		t.Errorf("found when it is gone: %v", err)
	}
}

// A folder that others could have made is none.
func TestForeignFolder(t *testing.T) {
	s, err := Create(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	if err := s.Save(Note{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(os.Getpid()); !errors.Is(err, ErrNone) {
		t.Errorf("anybody may enter it: %v", err)
	}
	moved := s.Dir() + "x"
	defer os.RemoveAll(moved)
	if err := errors.Join(os.Chmod(s.Dir(), 0o700), os.Rename(s.Dir(), moved), os.Symlink(moved, s.Dir())); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(os.Getpid()); !errors.Is(err, ErrNone) {
		t.Errorf("a link: %v", err)
	}
}

// Folders of tracers that died before their note are removed with their process.
func TestSweep(t *testing.T) {
	child := exec.Command(fixture.Path(t, "loop"), "1000000", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	s, err := Create(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	child.Process.Kill()
	child.Wait()
	me, err := Create(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer me.Remove()
	if _, err := os.Stat(s.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", s.Dir(), err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version":1,"probes":[{"handler":0}],"handlers":[{}]}`))
	f.Add([]byte(`{"version":1,"probes":[{"handler":1}]}`))
	s, err := Create(os.Getpid())
	if err != nil {
		f.Fatal(err)
	}
	defer s.Remove()
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(s.dir, noteFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := s.Load()
		for _, p := range n.Probes {
			if err == nil && p.Handler >= len(n.Handlers) {
				t.Errorf("handler %d of %d", p.Handler, len(n.Handlers))
			}
		}
	})
}

// stranger is a user that need not exist on this machine.
const stranger = 54321

// foreign makes the folder of another user's for a process, with a note.
func foreign(t *testing.T, pid int) *Store {
	t.Helper()
	start, err := startTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(base(), prefix+strconv.Itoa(stranger))
	s := &Store{dir: filepath.Join(home, folderName(pid, start)), uid: stranger, pid: pid, start: start}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := s.Save(Note{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{home, s.dir, filepath.Join(s.dir, noteFile)} {
		if err := os.Chown(path, stranger, stranger); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestStranger: what another user has left counts for a process of that user, as long as that is
// there, and for no other.
func TestStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		skip.Missing(t, "root, for another user's folder")
	}
	run := func(uid uint32) *exec.Cmd {
		cmd := exec.Command(fixture.Path(t, "sleeper"), "pause")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	for uid, want := range map[uint32]error{0: ErrNone, stranger + 1: ErrNone, stranger: nil} {
		cmd := run(uid)
		s := foreign(t, cmd.Process.Pid)
		found, err := Find(cmd.Process.Pid)
		if !errors.Is(err, want) {
			t.Errorf("process of user %d: %v, want %v", uid, err, want)
		}
		list, err := List()
		if listed := slices.ContainsFunc(list, func(in *Store) bool { return in.dir == s.dir }); err != nil || listed != (want == nil) {
			t.Errorf("process of user %d: in the list: %v, %v", uid, listed, err)
		}
		if want == nil {
			if _, err := found.Load(); err != nil {
				t.Error(err)
			}
			large := filepath.Join(s.dir, "maps-1")
			if err := errors.Join(os.WriteFile(large, nil, 0o600), os.Truncate(large, foreignMaps+1), os.Chown(large, stranger, stranger)); err != nil {
				t.Fatal(err)
			}
			if _, err := found.Open("maps-1"); !errors.Is(err, ErrLarge) {
				t.Errorf("a large file of another user's: %v", err)
			}
			cmd.Process.Kill()
			cmd.Wait()
			if _, err := Find(cmd.Process.Pid); !errors.Is(err, ErrNone) {
				t.Errorf("when the process has ended: %v", err)
			}
		}
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	}
}

// TestOdd: what is no plain file of the folder's owner is not read, nor waited for.
func TestOdd(t *testing.T) {
	s, err := Create(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	dir := t.TempDir() // on the same file system, perhaps
	note, other := filepath.Join(s.dir, noteFile), filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte(`{"version":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func() error
		want error
	}{
		"fifo":   {func() error { return syscall.Mkfifo(note, 0o600) }, ErrOwner},
		"link":   {func() error { return os.Symlink(other, note) }, syscall.ELOOP},
		"device": {func() error { return os.Symlink("/dev/zero", note) }, syscall.ELOOP},
		"folder": {func() error { return os.Mkdir(note, 0o700) }, ErrOwner},
		"endless": {func() error {
			return errors.Join(os.WriteFile(note, nil, 0o600), os.Truncate(note, 1<<40))
		}, ErrLarge},
	} {
		if err := c.make(); err != nil {
			t.Fatal(name, err)
		}
		if _, err := s.Load(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err := os.RemoveAll(note); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.WriteFile(note, []byte(`{"version":1}`), 0o644), os.Chown(note, stranger, stranger)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(); !errors.Is(err, ErrOwner) {
			t.Errorf("another user's file: %v", err)
		}
	}
}

// TestMapped: a process is believed to have the very file mapped, not one that is at that
// path for it.
func TestMapped(t *testing.T) {
	s, err := Create(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	f, err := s.NewFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page, err := syscall.Mmap(int(f.Fd()), 0, 1, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(page)
	if got := Mapped(os.Getpid()); got != s.dir {
		t.Errorf("mapped: %q, want %q", got, s.dir)
	}
	maps, err := procfs.Maps(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		if m.Path == f.Name() {
			if m.Inode++; s.has(m) {
				t.Error("another file was taken for the store's")
			}
		}
	}
}

// TestRemoveTwice removes the only store of a user, twice: the user's folder goes with it.
func TestRemoveTwice(t *testing.T) {
	s := &Store{dir: filepath.Join(t.TempDir(), "home", "1-1"), uid: os.Geteuid()}
	if err := errors.Join(os.Mkdir(filepath.Dir(s.dir), 0o700), os.Mkdir(s.dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Dir(s.dir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder is there: %v", err)
		}
	}
}
