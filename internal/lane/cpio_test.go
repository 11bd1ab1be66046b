package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// unpackNewc reads an archive by the letter of the format, independently of
// what wrote it, and lists its entries as "mode name contents".
func unpackNewc(t *testing.T, text []byte) (entries []string) {
	t.Helper()
	for at := 0; ; {
		if at%4 != 0 || len(text) < at+110 || string(text[at:at+6]) != "070701" {
			t.Fatalf("no header at %d of %d", at, len(text))
		}
		field := func(i int) int {
			n, err := strconv.ParseUint(string(text[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
		mode, size, nameSize := field(1), field(6), field(11)
		name := text[at+110 : at+110+nameSize]
		if i := bytes.IndexByte(name, 0); i != nameSize-1 {
			t.Fatalf("name %q does not end in its first zero", name)
		}
		if string(name) == "TRAILER!!!\x00" {
			if rest := len(text) - (at+110+nameSize+3)&^3; rest != 0 {
				t.Errorf("%d bytes behind the trailer", rest)
			}
			return entries
		}
		data := (at + 110 + nameSize + 3) &^ 3
		entries = append(entries, fmt.Sprintf("%o %s %s", mode, name[:nameSize-1], text[data:data+size]))
		at = (data + size + 3) &^ 3
	}
}

func TestArchive(t *testing.T) {
	from := t.TempDir()
	for name, perm := range map[string]os.FileMode{"x": 0o755, "sub/y": 0o600} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("in "+name), perm); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("x", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := newArchive(&out)
	for _, err := range []error{
		a.dir("/a/b"), a.dir("/a"), a.data("/a/c", 0o644, []byte("12345")), a.data("/empty", 0o600, nil),
		a.tree("/t", from), a.file("/l", filepath.Join(from, "link")), a.close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"40755 a ", "40755 a/b ", "100644 a/c 12345", "100600 empty ",
		"40755 t ", "40755 t/sub ", "100600 t/sub/y in sub/y", "100755 t/x in x", "100755 l in x",
	}
	if got := unpackNewc(t, out.Bytes()); !slices.Equal(got, want) {
		t.Errorf("archive has\n%q, want\n%q", got, want)
	}
	if err := a.file("/no", filepath.Join(from, "no")); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
}
