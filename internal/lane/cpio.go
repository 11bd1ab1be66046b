package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// archive writes an initramfs: cpio in the "newc" form, which is all that the
// kernel reads (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w    *bufio.Writer
	n    int             // inodes so far
	dirs map[string]bool // written
}

func newArchive(w io.Writer) *archive {
	return &archive{w: bufio.NewWriter(w), dirs: map[string]bool{}}
}

// header starts an entry. Header with name, and contents, are each padded to
// four bytes.
func (a *archive) header(name string, mode, size int) error {
	a.n++
	ino, links := a.n, 1
	const fields = "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x"
	// ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
	n, err := fmt.Fprintf(a.w, fields+"%s\x00", ino, mode, 0, 0, links, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	if err != nil {
		return err
	}
	return a.pad(n)
}

func (a *archive) pad(n int) error {
	_, err := a.w.Write(make([]byte, -n&3))
	return err
}

// dir adds a folder, once, and those above it.
func (a *archive) dir(name string) error {
	name = strings.Trim(path.Clean(name), "/")
	if name == "" || name == "." || a.dirs[name] {
		return nil
	}
	if err := a.dir(path.Dir(name)); err != nil {
		return err
	}
	a.dirs[name] = true
	return a.header(name, 0o040755, 0)
}

// data adds a file with the given contents.
func (a *archive) data(name string, perm fs.FileMode, contents []byte) error {
	if err := a.dir(path.Dir(name)); err != nil {
		return err
	}
	if err := a.header(strings.TrimPrefix(name, "/"), 0o100000|int(perm.Perm()), len(contents)); err != nil {
		return err
	}
	if _, err := a.w.Write(contents); err != nil {
		return err
	}
	return a.pad(len(contents))
}

// file adds a copy of the host's file from; links are followed.
func (a *archive) file(name, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	contents, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return a.data(name, info.Mode(), contents)
}

// tree adds all folders and plain files below the host's folder from.
func (a *archive) tree(name, from string) error {
	return fs.WalkDir(os.DirFS(from), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return a.dir(path.Join(name, p))
		case d.Type().IsRegular():
			return a.file(path.Join(name, p), path.Join(from, p))
		}
		return nil
	})
}

func (a *archive) close() error {
	if err := a.header("TRAILER!!!", 0, 0); err != nil {
		return err
	}
	return a.w.Flush()
}
