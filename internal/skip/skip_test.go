package skip

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "skips")
	t.Setenv(ListEnv, path)
	for _, name := range []string{"a", "b"} {
		ran := false
		t.Run(name, func(t *testing.T) {
			defer func() { ran = t.Skipped() }()
			Missing(t, "a wheel")
			t.Error("went on after Missing")
		})
		if !ran {
			t.Errorf("%s was not skipped", name)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = "TestMissing/a: a wheel\nTestMissing/b: a wheel\n"
	if string(got) != want {
		t.Errorf("list is %q, want %q", got, want)
	}
}

func TestNoList(t *testing.T) {
	if err := list("", "TestX", "anything"); err != nil {
		t.Error(err)
	}
	if err := list(t.TempDir(), "TestX", "anything"); err == nil {
		t.Error("a folder taken for a list")
	}
}
