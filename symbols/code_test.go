package symbols

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/forge"
	"github.com/ptracer/ptracer/procfs"
)

// TestCode: the windows are a file's code, each behind the last, but for what is a hole.
func TestCode(t *testing.T) {
	path := forge.Tool(t, "go")
	f := open(t, path)
	const more, window = 100, 1 << 20
	var end arch.Addr
	n := 0
	err := f.Code(more, func(at arch.Addr, code []byte) {
		if n++; n > 1 && at != end {
			t.Errorf("window %d is at %v, the last one went to %v", n, at, end)
		}
		end = at + arch.Addr(min(window, len(code)))
		want := make([]byte, len(code))
		if err := f.Text(at, want); err != nil || !bytes.Equal(code, want) {
			t.Errorf("window at %v of %d bytes is not the file's code: %v", at, len(code), err)
		}
		if len(code) > window+more {
			t.Errorf("a window of %d bytes", len(code))
		}
	})
	if err != nil || n < 3 {
		t.Errorf("%d windows, %v", n, err)
	}
}

// TestSpareMaps: a process that has one file mapped a thousand times takes one path.
func TestSpareMaps(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "%x-%x r-xp 00000000 fd:01 1234    /%s\n", i<<12, (i+1)<<12, strings.Repeat("d", 4000))
	}
	maps, err := procfs.ParseMaps(strings.NewReader(text.String()))
	if err != nil || len(maps) != 1000 {
		t.Fatalf("%d mappings, %v", len(maps), err)
	}
	for _, m := range maps[1:] {
		if unsafe.StringData(m.Path) != unsafe.StringData(maps[0].Path) || unsafe.StringData(m.Perm) != unsafe.StringData(maps[0].Perm) {
			t.Fatal("the texts are kept more than once")
		}
	}
}
