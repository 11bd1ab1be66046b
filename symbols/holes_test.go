package symbols

import (
	"os"
	"testing"

	"github.com/ptracer/ptracer/internal/skip"
)

// needsHoles skips where the file system does not tell what a file has not.
func needsHoles(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	const seekHole = 4
	if at, err := f.Seek(0, seekHole); err != nil || at == st.Size() {
		skip.Missing(t, "a file system that tells holes")
	}
}
