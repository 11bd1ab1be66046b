package frames

import (
	"debug/elf"
	"encoding/binary"
	"sort"

	"github.com/ptracer/ptracer/symbols/elffile"
)

// Table is the unwinder's index of functions, .eh_frame_hdr with .eh_frame:
// it is loaded with the program, so that stripped files have it, too. It says
// where functions lie that have no name, and which of them are no functions
// but parts that a compiler moved away.
type Table struct {
	o       *elffile.Object
	addr    uint64 // of .eh_frame_hdr: its entries are relative to that
	entries []byte // pairs of int32: start of function, its FDE
	rows    rows
}

// Frame is one FDE: a piece of code with its rules for unwinding.
type Frame struct {
	Start, Size uint64
	// Midway says that the stack frame is there already at the start, which
	// no function finds when it is called.
	Midway bool
}

func (fr Frame) contains(a uint64) bool { return a >= fr.Start && a-fr.Start < fr.Size }

// Pointer encodings (LSB, DWARF extensions) that linkers write in the header.
const (
	encUdata4   = 0x03
	encSdata4   = 0x0b
	encPCRel    = 0x10
	encDataRel4 = 0x3b
	encIndirect = 0x80
)

// Read finds the index. A file without a usable one has no frames.
func Read(o *elffile.Object) *Table {
	for _, s := range o.Segments {
		if s.Type != elf.PT_GNU_EH_FRAME {
			continue
		}
		b, err := o.Data(elffile.Section{Off: s.Off, Size: s.Filesz})
		if err != nil || o.Budget.Keep(s.Filesz) != nil || len(b) < 12 || b[0] != 1 || b[1]&0xf != encSdata4 || b[2] != encUdata4 || b[3] != encDataRel4 {
			continue
		}
		n := uint64(binary.LittleEndian.Uint32(b[8:]))
		return &Table{o: o, addr: s.Vaddr, entries: b[12:min(uint64(len(b)), 12+8*n)]}
	}
	return &Table{o: o}
}

// entry is the i-th function's start and FDE.
func (fs *Table) entry(i int) (start, fde uint64) {
	at := func(off int) uint64 {
		return fs.addr + uint64(int64(int32(binary.LittleEndian.Uint32(fs.entries[off:]))))
	}
	return at(8 * i), at(8*i + 4)
}

// index is the last function that starts at a or before it, and its FDE.
func (fs *Table) index(a uint64) (start, fde uint64, ok bool) {
	i := sort.Search(len(fs.entries)/8, func(i int) bool {
		start, _ := fs.entry(i)
		return start > a
	})
	if i == 0 {
		return 0, 0, false
	}
	start, fde = fs.entry(i - 1)
	return start, fde, true
}

// Find is the frame that a lies in.
func (fs *Table) Find(a uint64) (Frame, bool) {
	start, at, ok := fs.index(a)
	if !ok {
		return Frame{}, false
	}
	fr, ok := fs.read(start, at)
	return fr, ok && fr.contains(a)
}

// Size is that of the frame that starts at a, 0 if none does.
func (fs *Table) Size(a uint64) uint64 {
	if fr, ok := fs.Find(a); ok && fr.Start == a {
		return fr.Size
	}
	return 0
}

// maxFDE is more than any FDE or CIE has.
const maxFDE = 1 << 16

// record reads the body of the CIE or FDE at a, behind its length.
func (fs *Table) record(a uint64) ([]byte, bool) {
	var head [4]byte
	if !fs.o.Load(a, head[:], 0) {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < 4 || n > maxFDE {
		return nil, false
	}
	b := make([]byte, n)
	return b, fs.o.Load(a+4, b, 0)
}

// read reads an FDE: distance to its CIE, start, size, augmentation,
// instructions.
func (fs *Table) read(start, at uint64) (fr Frame, ok bool) {
	b, ok := fs.record(at)
	if !ok {
		return fr, false
	}
	cie, ok := fs.record(at + 4 - uint64(binary.LittleEndian.Uint32(b)))
	if !ok {
		return fr, false
	}
	enc, augmented := pointerEncoding(cie)
	fr.Start = start
	rest := b[4:]
	switch {
	case enc&encIndirect != 0:
		return fr, false
	case (enc&7 == 3) && len(rest) >= 8:
		fr.Size, rest = uint64(binary.LittleEndian.Uint32(rest[4:])), rest[8:]
	case (enc&7 == 4 || enc&7 == 0) && len(rest) >= 16:
		fr.Size, rest = binary.LittleEndian.Uint64(rest[8:]), rest[16:]
	default:
		return fr, false
	}
	if augmented {
		n, tail := uleb(rest)
		rest = tail[min(n, uint64(len(tail))):]
	}
	fr.Midway = len(rest) > 0 && !begins(rest[0])
	return fr, true
}

// instructions is the part of an FDE's body that are call frame instructions; of a CIE's
// body with augmentation "z", behind its augmentation's data.
func instructions(record, cie []byte) []byte {
	if &record[0] == &cie[0] {
		text := elffile.CString(cie, 5)
		if text == "" || text[0] != 'z' {
			return nil
		}
		_, b := uleb(cie[5+len(text)+1:])
		_, b = uleb(b)
		if cie[4] == 1 {
			b = b[min(1, len(b)):]
		} else {
			_, b = uleb(b)
		}
		n, b := uleb(b)
		return b[min(n, uint64(len(b))):]
	}
	enc, augmented := pointerEncoding(cie)
	size := 8
	if enc&7 == 3 {
		size = 4
	}
	if len(record) < 4+2*size {
		return nil
	}
	b := record[4+2*size:]
	if augmented {
		var n uint64
		n, b = uleb(b)
		b = b[min(n, uint64(len(b))):]
	}
	return b
}

// begins reports whether a call frame instruction is one that comes first in
// an ordinary function: one that moves on to a later address, or nothing.
func begins(op byte) bool { return op>>6 == 1 || op <= 4 }

// pointerEncoding reads how a CIE's FDEs give addresses: id, version,
// augmentation "zPLR" and so on, alignments, register, augmentation's data.
func pointerEncoding(cie []byte) (enc byte, augmented bool) {
	if len(cie) < 6 {
		return encIndirect, false
	}
	text := elffile.CString(cie, 5)
	if text == "" || text[0] != 'z' {
		return 0, false
	}
	b := cie[5+len(text)+1:]
	_, b = uleb(b)
	_, b = uleb(b)
	if cie[4] == 1 {
		b = b[min(1, len(b)):]
	} else {
		_, b = uleb(b)
	}
	_, b = uleb(b) // length
	for _, c := range text[1:] {
		if len(b) == 0 {
			return encIndirect, true
		}
		switch c {
		case 'R':
			return b[0], true
		case 'L':
			b = b[1:]
		case 'P':
			b = b[min(len(b), 1+pointerSize(b[0])):]
		}
	}
	return 0, true
}

func pointerSize(enc byte) int {
	switch enc & 7 {
	case 2:
		return 2
	case 3:
		return 4
	}
	return 8
}

// uleb reads a number of 7 bits a byte, and returns what is behind it.
func uleb(b []byte) (n uint64, rest []byte) {
	for i, c := range b {
		if i < 9 {
			n |= uint64(c&0x7f) << (7 * i)
		}
		if c&0x80 == 0 {
			return n, b[i+1:]
		}
	}
	return n, nil
}
