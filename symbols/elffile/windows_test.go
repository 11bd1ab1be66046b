package elffile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ptracer/ptracer/internal/skip"
)

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
func sparse(t *testing.T) (o *Object, data []uint64) {
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
	return &Object{Reader: f, Size: st.Size()}, data
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
	if err := o.Windows(0, uint64(o.Size)+1<<20, 10, &left, look); err != nil || fmt.Sprint(got) != fmt.Sprint(data) || left != 0 {
		t.Errorf("windows at %#x, data are at %#x; %d left; %v", got, data, left, err)
	}
	left = 2 * window
	if err := o.Windows(0, uint64(o.Size), 0, &left, look); !errors.Is(err, ErrBudget) {
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
	o := &Object{Reader: bytes.NewReader(b), Size: int64(len(b))}
	for _, one := range []uint64{1, 8, 24} {
		at, left := uint64(5), uint64(len(b))
		err := o.Records(5, uint64(len(b)-5), one, &left, func(r []byte) error {
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
