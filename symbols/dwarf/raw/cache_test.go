package raw

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// file is a file with a text.
func file(t *testing.T, text string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// content is what a section has; "none" if there is no section.
func content(t *testing.T, s *Section) string {
	t.Helper()
	if s == nil {
		return "none"
	}
	b, err := s.At(0, s.Size)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func save(t *testing.T, c *Cache, part, text string) {
	t.Helper()
	s, err := c.Save(part, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
	if err != nil || content(t, s) != text {
		t.Fatalf("%v, %v", s, err)
	}
}

func TestCache(t *testing.T) {
	dir, one, two := filepath.Join(t.TempDir(), "cache"), file(t, "one"), file(t, "two")
	c, other := NewCache(dir, one), NewCache(dir, two)
	if got := content(t, c.Open("a")); got != "none" {
		t.Errorf("an empty cache has %q", got)
	}
	save(t, c, "a", "of one")
	save(t, c, "b", strings.Repeat("long ", 1000))
	save(t, other, "a", "of two")
	for want, s := range map[string]*Section{"of one": c.Open("a"), "of two": other.Open("a"), strings.Repeat("long ", 1000): c.Open("b"), "none": other.Open("b")} {
		if got := content(t, s); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	if got := content(t, NewCache(dir, one).Open("a")); got != "of one" {
		t.Errorf("another process finds %q", got)
	}
	// The file has changed.
	if err := os.WriteFile(one.Name(), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(one.Name(), time.Now(), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := content(t, NewCache(dir, one).Open("a")); got != "none" {
		t.Errorf("of the file as it is now: %q", got)
	}
	cause := errors.New("cause")
	if s, err := c.Save("c", func(w io.Writer) error { return cause }); s != nil || !errors.Is(err, cause) {
		t.Errorf("%v, %v", s, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "new.*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestDamaged changes each byte of an entry: it is not there any more.
func TestDamaged(t *testing.T) {
	dir, f := filepath.Join(t.TempDir(), "cache"), file(t, "one")
	c := NewCache(dir, f)
	save(t, c, "a", "content")
	path := c.path("a")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 4
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := content(t, c.Open("a")); got != "none" {
			t.Errorf("with byte %d changed it is %q", i, got)
		}
	}
	for i := range whole {
		if err := os.WriteFile(path, whole[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		if got := content(t, c.Open("a")); got != "none" {
			t.Errorf("cut to %d bytes it is %q", i, got)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := content(t, c.Open("a")); got != "content" {
		t.Errorf("whole again it is %q", got)
	}
}

// TestNoCache has folders and files that there is no cache for.
func TestNoCache(t *testing.T) {
	f := file(t, "one")
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "relative", open, link, f.Name(), "/proc/none"} {
		c := NewCache(dir, f)
		if c != nil {
			t.Errorf("%s: there is one", dir)
		}
		s, err := c.Save("a", func(w io.Writer) error { t.Error("written"); return nil })
		if s != nil || err != nil || c.Open("a") != nil {
			t.Errorf("%s: %v, %v", dir, s, err)
		}
	}
	if c := NewCache(t.TempDir(), bytes.NewReader(nil)); c != nil {
		t.Error("there is one for what is no file")
	}
}

// TestTogether has many write and read one entry.
func TestTogether(t *testing.T) {
	dir, f := filepath.Join(t.TempDir(), "cache"), file(t, "one")
	text := strings.Repeat("together ", 10000)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c := NewCache(dir, f)
			for range 20 {
				if s := c.Open("a"); s != nil {
					if got, err := s.At(0, s.Size); err != nil || string(got) != text {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				}
				if _, err := c.Save("a", func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// TestShrink has more entries than may be.
func TestShrink(t *testing.T) {
	dir, f := filepath.Join(t.TempDir(), "cache"), file(t, "one")
	c := NewCache(dir, f)
	save(t, c, "old", "old")
	if err := os.Truncate(c.path("old"), maxCached); err != nil { // a hole
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(c.path("old"), past, past); err != nil {
		t.Fatal(err)
	}
	save(t, c, "new", "new")
	if got := content(t, c.Open("new")); got != "new" {
		t.Errorf("the new entry is %q", got)
	}
	if _, err := os.Stat(c.path("old")); err == nil {
		t.Error("the old entry is still there")
	}
}
