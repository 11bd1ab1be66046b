package symbols

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/procfs"
)

// TestCode: the windows are a file's code, each behind the last, but for what is a hole.
func TestCode(t *testing.T) {
	path := tool(t, "go")
	f := open(t, path)
	const more = 100
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

// needsHoles skips where the file system does not tell what a file has not.
func needsHoles(t *testing.T, f *os.File) {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if at, err := f.Seek(0, seekHole); err != nil || at == st.Size() {
		skip.Missing(t, "a file system that tells holes")
	}
}

// sparse is a file of which only some windows are on the disk, and where these are.
func sparse(t *testing.T) (o *object, data []uint64) {
	f, err := os.Create(filepath.Join(t.TempDir(), "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	data = []uint64{0, 3 * window, 1 << 30, 1<<40 + 5*window}
	for _, off := range data {
		if _, err := f.WriteAt(bytes.Repeat([]byte{1}, window), int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	needsHoles(t, f)
	return &object{r: f, size: st.Size()}, data
}

// TestWindows reads a sparse file: its data, and no more than there may be.
func TestWindows(t *testing.T) {
	o, data := sparse(t)
	left := uint64(len(data) * window)
	var got []uint64
	look := func(off uint64, b []byte, n int) error {
		if i := bytes.IndexByte(b[:n], 0); i != -1 {
			t.Errorf("a zero at %#x", off+uint64(i))
		}
		got = append(got, off)
		return nil
	}
	if err := o.windows(0, uint64(o.size)+1<<20, 10, &left, look); err != nil || fmt.Sprint(got) != fmt.Sprint(data) || left != 0 {
		t.Errorf("windows at %#x, data are at %#x; %d left; %v", got, data, left, err)
	}
	left = 2 * window
	if err := o.windows(0, uint64(o.size), 0, &left, look); !errors.Is(err, ErrBudget) {
		t.Errorf("more than there may be: %v", err)
	}
	for n, want := range map[uint64]bool{window: true, 2 * window: true, 3 * window: false, 4 * window: true, 5 * window: false, 1 << 40: false} {
		if got := o.dense(0, n); got != want {
			t.Errorf("the first %d windows are on the disk: %v, want %v", n/window, got, want)
		}
	}
}

// TestRecords: records that lie over the ends of windows come whole, and each once.
func TestRecords(t *testing.T) {
	b := make([]byte, 3*window+11)
	for i := range b {
		b[i] = byte(i % 251)
	}
	o := &object{r: bytes.NewReader(b), size: int64(len(b))}
	for _, one := range []uint64{1, 8, 24} {
		at, left := uint64(5), uint64(len(b))
		err := o.records(5, uint64(len(b)-5), one, &left, func(r []byte) error {
			if !bytes.Equal(r, b[at:at+one]) {
				return fmt.Errorf("record of %d bytes at %d", one, at)
			}
			at += one
			return nil
		})
		if err != nil || at+one <= uint64(len(b)) {
			t.Errorf("%d bytes each: up to %d of %d, %v", one, at, len(b), err)
		}
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
