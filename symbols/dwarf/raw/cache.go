package raw

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Cache is a folder with what was made of debug information: inflated sections and indexes. An entry
// belongs to one file as it is now: by its device, inode, size and times, so that no other file can
// pass for it. Entries are written under another name first, and checked when they are read; what is
// damaged is as if it were not there. Any number of processes may use a folder.
type Cache struct {
	dir  string
	file string // what the entries' names are made of
}

// maxCached is how many bytes the folder may have: those that have not been used for longest go.
const maxCached = 2 << 30

// NewCache returns the cache for a file in a folder, nil if there can't be one: the folder has to be
// the user's own, without rights for others.
func NewCache(dir string, of io.ReaderAt) *Cache {
	f, ok := of.(*os.File)
	if !ok || !filepath.IsAbs(dir) || os.MkdirAll(dir, 0o700) != nil {
		return nil
	}
	st, err := os.Lstat(dir)
	if err != nil || !st.IsDir() || st.Mode().Perm()&0o077 != 0 || st.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
		return nil
	}
	if st, err = f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	sys := st.Sys().(*syscall.Stat_t)
	return &Cache{dir: dir, file: fmt.Sprint(sys.Dev, sys.Ino, sys.Size, sys.Mtim, sys.Ctim)}
}

// An entry is a header, and the bytes.
const (
	cacheMagic  = "ptracer debug 1\n"
	cacheHeader = int64(len(cacheMagic) + 8 + 4) // the length, and the CRC-32C
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// path is where the entry for a part of the file is.
func (c *Cache) path(part string) string {
	sum := sha256.Sum256([]byte(c.file + "\x00" + part))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:16]))
}

// Open returns the entry for a part of the file, as a section; nil if there is none.
func (c *Cache) Open(part string) *Section {
	if c == nil {
		return nil
	}
	f, err := os.Open(c.path(part))
	if err != nil {
		return nil
	}
	s, err := checked(f, part)
	if err != nil {
		f.Close()
		_ = os.Remove(c.path(part))
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(c.path(part), now, now)
	return s
}

// checked is the section in an entry, if that is whole.
func checked(f *os.File, part string) (*Section, error) {
	head := make([]byte, cacheHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(head[len(cacheMagic):])
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if string(head[:len(cacheMagic)]) != cacheMagic || size != uint64(st.Size()-cacheHeader) {
		return nil, ErrFormat
	}
	h := crc32.New(castagnoli)
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, cacheHeader, int64(size)), make([]byte, 256<<10)); err != nil {
		return nil, err
	}
	if h.Sum32() != binary.LittleEndian.Uint32(head[len(cacheMagic)+8:]) {
		return nil, ErrFormat
	}
	return &Section{Name: part, r: f, Off: uint64(cacheHeader), Size: size}, nil
}

// Save makes an entry of what write writes, and returns it; nil if that fails. An error of write's is
// returned.
func (c *Cache) Save(part string, write func(io.Writer) error) (*Section, error) {
	if c == nil {
		return nil, nil
	}
	f, err := os.CreateTemp(c.dir, "new.*")
	if err != nil {
		return nil, nil
	}
	defer os.Remove(f.Name()) // it has another name by then, if all went well
	h := &summed{w: f, sum: crc32.New(castagnoli)}
	if _, err := f.Write(make([]byte, cacheHeader)); err != nil {
		f.Close()
		return nil, nil
	}
	if err := write(h); err != nil {
		f.Close()
		if h.failed != nil { // a full disk is no fault of what is written
			return nil, nil
		}
		return nil, err
	}
	head := binary.LittleEndian.AppendUint64([]byte(cacheMagic), h.n)
	head = binary.LittleEndian.AppendUint32(head, h.sum.Sum32())
	if _, err := f.WriteAt(head, 0); err != nil {
		f.Close()
		return nil, nil
	}
	if err := os.Rename(f.Name(), c.path(part)); err != nil {
		f.Close()
		return nil, nil
	}
	c.shrink()
	return &Section{Name: part, r: f, Off: uint64(cacheHeader), Size: h.n}, nil
}

// summed counts and sums what is written.
type summed struct {
	w      io.Writer
	sum    hash.Hash32
	n      uint64
	failed error
}

func (s *summed) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.sum.Write(b[:n])
	s.n += uint64(n)
	if err != nil {
		s.failed = err
	}
	return n, err
}

// shrink removes what has not been used for longest, if the folder has more than it may, and what
// processes have left that ended while they wrote.
func (c *Cache) shrink() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var list []fs.FileInfo
	all := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if strings.HasPrefix(e.Name(), "new.") {
			if time.Since(info.ModTime()) > time.Hour {
				_ = os.Remove(filepath.Join(c.dir, e.Name()))
			}
			continue
		}
		list = append(list, info)
		all += info.Size()
	}
	slices.SortFunc(list, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range list {
		if all <= maxCached {
			return
		}
		_ = os.Remove(filepath.Join(c.dir, info.Name()))
		all -= info.Size()
	}
}
