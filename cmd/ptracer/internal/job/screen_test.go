package job

import (
	"bytes"
	"testing"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
)

// TestNoScreen makes no table where there is no terminal.
func TestNoScreen(t *testing.T) {
	var b bytes.Buffer
	ScreenOf(&flags.Options{}, &b).Show(func() []string {
		t.Error("it makes a table where there is no terminal")
		return []string{"a"}
	})
	if b.Len() != 0 {
		t.Errorf("drew %q where there is no terminal", b.String())
	}
}
