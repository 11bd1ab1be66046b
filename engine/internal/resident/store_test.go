package resident

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ptracer/ptracer/internal/fixture"
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
	s := &Store{dir: f.TempDir()}
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
