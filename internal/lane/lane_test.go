package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestResult(t *testing.T) {
	const good = "kernel's words\r\n\r\n@@RUN a/b\r\n=== RUN   TestX\r\n    --- SKIP: TestX/y (0.00s)\r\n--- PASS: TestX (0.10s)\r\nPASS\r\n\r\n@@RC a/b 0 1500\r\n"
	const skip = "\r\n@@SKIP TestX/y: a wheel\r\n"
	for _, c := range []struct {
		name, console string
		want          string // in what is printed
		ended         bool
		code, ran     int
	}{
		{"passed", good + skip + "@@END rc=0\r\n", "ok  \ta/b\t1.500s\t(arm64, 1 tests, 1 skips)\n", true, 0, 1},
		{"failed", "@@RUN a\n=== RUN   TestZ\n--- FAIL: TestZ (1s)\nwhy\n    --- PASS: TestZ/q (1s)\n@@RC a 1 20\n@@END rc=1\n",
			"--- FAIL: TestZ (1s)\nwhy\nFAIL\ta\t0.020s\t(arm64, 1 tests, 0 skips)\n", true, 1, 1},
		{"only what failed", "@@RUN a\n=== RUN   TestY\nmuch\n--- PASS: TestY (1s)\n=== RUN   TestZ\nwhy\n=== RUN   TestZ/q\nno\n    --- PASS: TestZ/q (1s)\n--- FAIL: TestZ (1s)\n@@RC a 1 20\n@@END rc=1\n",
			"why\n--- FAIL: TestZ (1s)\nFAIL\ta\t0.020s\t(arm64, 2 tests, 0 skips)\n", true, 1, 1},
		{"passed after a failure", "@@RUN a\nold words\n@@RC a 0 20\n@@RUN b\nnew\n@@RC b 1 1\n@@END rc=1\n", "ok  \ta\t0.020s\t(arm64, 0 tests, 0 skips)\nnew\nFAIL\tb", true, 1, 2},
		{"died in a test", good + "@@RUN c\nOops: 1\n", "Oops: 1\nFAIL\tc\t(arm64, not finished)\n", false, 0, 1},
		{"died at once", "Kernel panic\n", "Kernel panic\n", false, 0, 0},
		{"end is half said", good + "@@END", "ok", false, 0, 1},
		{"words after the end", "@@END rc=0\n@@END rc=1\n", "", true, 0, 0},
		{"nothing", "", "", false, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			r := &result{out: &out}
			if err := r.read(strings.NewReader(c.console)); err != nil {
				t.Fatal(err)
			}
			if r.ended != c.ended || r.code != c.code || r.ran != c.ran {
				t.Errorf("ended %v, code %d, ran %d; want %v, %d, %d", r.ended, r.code, r.ran, c.ended, c.code, c.ran)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("printed %q, want %q", out.String(), c.want)
			}
		})
	}
}

func TestSkips(t *testing.T) {
	r := &result{out: &strings.Builder{}}
	if err := r.read(strings.NewReader("@@SKIP TestA: b\r\n\r\n@@SKIP TestC: d e\r\n@@END rc=0\r\n")); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "skips")
	if err := listSkips(list, r.skips); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(list)
	if want := "arm64 TestA: b\narm64 TestC: d e\n"; err != nil || string(got) != want {
		t.Errorf("list is %q, %v; want %q", got, err, want)
	}
}

func TestNewest(t *testing.T) {
	cache := t.TempDir()
	if path, _ := newest(cache); path != "" {
		t.Errorf("an empty cache has %s", path)
	}
	if err := os.Mkdir(filepath.Join(cache, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"vmlinuz-6.9": time.Hour, "vmlinuz-6.12": 3 * time.Hour} {
		path := filepath.Join(cache, "kernel", name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	path, age := newest(cache)
	if filepath.Base(path) != "vmlinuz-6.9" || age < time.Hour || age > 2*time.Hour {
		t.Errorf("newest is %s, %v old", path, age)
	}
	// A recent one is taken without asking anybody.
	if got, err := kernel(cache); got != path || err != nil {
		t.Errorf("kernel: %s, %v; want %s", got, err, path)
	}
}

func TestDependency(t *testing.T) {
	const out = "linux-image-6.12-cloud-arm64\n  Depends: linux-image-6.12.1+deb12-cloud-arm64\n  Suggests: linux-doc\n"
	m := image.FindStringSubmatch(out)
	if m == nil || m[1] != "linux-image-6.12.1+deb12-cloud-arm64" {
		t.Errorf("found %q in %q", m, out)
	}
	if m := image.FindStringSubmatch("x\n  Depends: <linux-image-y>\n"); m != nil {
		t.Errorf("a package that is not to be had: %q", m)
	}
}

func TestPresent(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"arch/amd64", "internal/leak"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(present(root), " "); got != "./internal/leak ./arch/..." {
		t.Errorf("found %s", got)
	}
}
