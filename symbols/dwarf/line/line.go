// Package line reads line tables: which instructions were made of which lines of which files.
package line

import (
	"fmt"
	"path"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// Table is the line table of a unit.
type Table struct {
	format     raw.Format
	version    int
	minInst    uint64
	maxOps     uint64
	isStmt     bool
	lineBase   int8
	lineRange  uint8
	opcodeBase uint8
	lengths    []uint8
	dirs       []string
	names      []fileEntry
	program    []byte
}

type fileEntry struct {
	name string
	dir  uint64
}

// Row is one row of a line table.
type Row struct {
	Addr          uint64
	File          int // number of the file: Table.File
	Line, Column  int
	Stmt          bool // a place where a breakpoint for the line fits
	PrologueEnd   bool // the function's own code begins
	EpilogueBegin bool
	End           bool // the first address behind a sequence
	Discriminator int
}

// maxFiles is how many files a line table may name.
const maxFiles = 1 << 20

// Text returns the string that a value stands for which is not in the table itself.
type Text func(raw.Value) (string, error)

// Read reads the header of the table at off of .debug_line, and returns where the next one begins.
// Addresses have addr bytes, unless the table says otherwise.
func Read(s *raw.Section, off uint64, addr int, text Text) (t *Table, next uint64, err error) {
	head, err := s.From(off, 12)
	if err != nil {
		return nil, 0, err
	}
	b := &raw.Buf{B: head}
	n, wide := b.Length()
	start := off + uint64(b.Off)
	if b.Err == nil && n > s.Size-start {
		b.Err = raw.ErrShort
	}
	if b.Err != nil {
		return nil, 0, b.Err
	}
	next = start + n
	data, err := s.At(start, n)
	if err != nil {
		return nil, next, err
	}
	t = &Table{format: raw.Format{Addr: addr, Offset: 4}}
	if wide {
		t.format.Offset = 8
	}
	if err := t.header(&raw.Buf{B: data}, text); err != nil {
		return nil, next, fmt.Errorf("line table at %#x: %w", off, err)
	}
	return t, next, nil
}

// header reads what comes before the program.
func (t *Table) header(b *raw.Buf, text Text) error {
	t.version = int(b.U16())
	if b.Err == nil && (t.version < 2 || t.version > 5) {
		return fmt.Errorf("%w: version %d", raw.ErrFormat, t.version)
	}
	t.format.Version = t.version
	if t.version >= 5 {
		t.format.Addr = int(b.U8())
		b.U8() // size of a segment's number
		if b.Err == nil && t.format.Addr != 8 && t.format.Addr != 4 {
			return fmt.Errorf("%w: addresses of %d bytes", raw.ErrFormat, t.format.Addr)
		}
	}
	size := b.Uint(t.format.Offset)
	if b.Err != nil || size > uint64(b.Left()) {
		return raw.ErrShort
	}
	t.program = b.B[b.Off+int(size):]
	b = &raw.Buf{B: b.B[:b.Off+int(size)], Off: b.Off}
	t.minInst, t.maxOps = uint64(b.U8()), 1
	if t.version >= 4 {
		t.maxOps = max(1, uint64(b.U8()))
	}
	t.isStmt = b.U8() != 0
	t.lineBase, t.lineRange, t.opcodeBase = int8(b.U8()), b.U8(), b.U8()
	if b.Err == nil && (t.lineRange == 0 || t.opcodeBase == 0) {
		return fmt.Errorf("%w: a line range of %d, opcodes from %d", raw.ErrFormat, t.lineRange, t.opcodeBase)
	}
	t.lengths = b.Bytes(uint64(max(t.opcodeBase, 1) - 1))
	if b.Err != nil {
		return b.Err
	}
	if t.version >= 5 {
		return t.files5(b, text)
	}
	return t.files4(b)
}

// files4 reads the directories and files of DWARF 2 to 4. Number 0 is the unit's own directory, and
// no file.
func (t *Table) files4(b *raw.Buf) error {
	t.dirs, t.names = []string{""}, []fileEntry{{}}
	for {
		dir := b.Text()
		if len(dir) == 0 {
			break
		}
		t.dirs = append(t.dirs, string(dir))
	}
	for b.Err == nil {
		name := b.Text()
		if len(name) == 0 {
			break
		}
		t.names = append(t.names, fileEntry{string(name), b.ULEB()})
		b.SkipLEB() // time of change
		b.SkipLEB() // size
	}
	return b.Err
}

// Kinds of content of the tables of directories and files (DW_LNCT_).
const (
	contentPath = 1
	contentDir  = 2
)

// files5 reads the directories and files of DWARF 5.
func (t *Table) files5(b *raw.Buf, text Text) error {
	err := t.table5(b, text, func(f fileEntry) { t.dirs = append(t.dirs, f.name) })
	if err != nil {
		return err
	}
	return t.table5(b, text, func(f fileEntry) { t.names = append(t.names, f) })
}

// table5 reads one of the two tables: the forms of an entry, and the entries.
func (t *Table) table5(b *raw.Buf, text Text, add func(fileEntry)) error {
	type content struct {
		kind uint64
		attr raw.Attribute
	}
	var list []content
	for range b.U8() {
		list = append(list, content{b.ULEB(), raw.Attribute{Form: raw.Form(b.ULEB())}})
	}
	n := b.ULEB()
	if n > maxFiles || n > 0 && len(list) == 0 {
		return fmt.Errorf("%w: %d files", raw.ErrFormat, n)
	}
	for ; n > 0 && b.Err == nil; n-- {
		var f fileEntry
		for _, c := range list {
			v := b.Read(t.format, c.attr)
			if b.Err != nil {
				return b.Err
			}
			switch c.kind {
			case contentPath:
				name, err := textOf(v, text)
				if err != nil {
					return err
				}
				f.name = name
			case contentDir:
				f.dir = v.Num
			}
		}
		add(f)
	}
	return b.Err
}

// textOf is the string that a value stands for.
func textOf(v raw.Value, text Text) (string, error) {
	if v.Form == raw.FormString {
		return string(v.Raw), nil
	}
	return text(v)
}

// Files is how many files the table names. Before DWARF 5, number 0 is none.
func (t *Table) Files() int { return len(t.names) }

// Base is the last element of a file's path, "" for a number that is none.
func (t *Table) Base(i int) string {
	if i < 0 || i >= len(t.names) || t.names[i].name == "" {
		return ""
	}
	return path.Base(t.names[i].name)
}

// File is the path of a file as the compiler was given it, after the directory that it is relative
// to; that may be relative to dir, the unit's own. It is "" for a number that is none.
func (t *Table) File(i int, dir string) string {
	if i < 0 || i >= len(t.names) || t.names[i].name == "" {
		return ""
	}
	f := t.names[i]
	if path.IsAbs(f.name) {
		return f.name
	}
	in := ""
	if f.dir < uint64(len(t.dirs)) {
		in = t.dirs[f.dir]
	}
	if path.IsAbs(in) {
		return path.Join(in, f.name)
	}
	if t.version >= 5 && len(t.dirs) > 0 { // its number 0 is the unit's own
		dir = t.dirs[0]
		if f.dir == 0 {
			in = ""
		}
	}
	return path.Join(dir, in, f.name)
}
