package symbols

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"slices"
	"sort"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// Tables of jumps. Compilers make two kinds for amd64: of addresses, which lie in
// the data or in the relocations that put them there; and of 4-byte distances
// from the table's own start, whose address an instruction takes relative to
// itself (lea). So all that a jump by a table can lead to is found without
// knowing which table it uses or how long that is: every word of the data that is
// an address in code, and behind every address that is taken every distance that
// leads into code, up to the first that does not; beyond the next address that is
// taken, where another table may begin, only those that lead into the function
// that the first one leads into. What else there is, is seen:
// code that takes the address of a place in the middle of a function, to compute
// another from it.

// tables are the places that tables lead to.
type tables struct {
	o     *elffile.Object
	parts []elffile.Section // of data
	last  struct {          // that was read
		off uint64
		b   []byte
	}
	function func(arch.Addr) (Function, bool)
	targets  []arch.Addr
}

const (
	// maxDistances is how many distances a table can have.
	maxDistances = 1 << 16
	// maxData is how much data of a file is looked at.
	maxData = 1 << 30
)

// collect reads the file's data; at each of the bases there may be a table.
func (t *tables) collect(bases []arch.Addr) error {
	t.parts = t.o.DataParts()
	left := uint64(2 * maxData)
	for _, s := range t.parts {
		if s.Type == elf.SHT_RELA {
			const addend = 16
			if err := t.o.Records(s.Off, s.Size, elffile.RelaSize, &left, func(b []byte) error { return t.word(b[addend:]) }); err != nil {
				return err
			}
		}
		skip := min((8-s.Addr%8)%8, s.Size)
		if err := t.o.Records(s.Off+skip, s.Size-skip, 8, &left, t.word); err != nil {
			return err
		}
	}
	slices.SortFunc(t.parts, func(a, b elffile.Section) int { return cmp.Compare(a.Addr, b.Addr) })
	for i, base := range bases {
		next := base + 4*maxDistances
		if i+1 < len(bases) {
			next = bases[i+1]
		}
		if err := t.distances(base, next); err != nil {
			return err
		}
	}
	return nil
}

// word takes a word of data, or the addend of a relocation, if it is an address in code.
func (t *tables) word(b []byte) error {
	if a := binary.LittleEndian.Uint64(b); t.o.Executable(a) {
		return t.take(arch.Addr(a))
	}
	return nil
}

func (t *tables) take(a arch.Addr) error {
	if len(t.targets) == elffile.MaxKept/addrSize {
		return elffile.ErrBudget
	}
	t.targets = append(t.targets, a)
	return nil
}

// distances takes what the table at base leads to, if one is there; next is where
// the next one may be.
func (t *tables) distances(base, next arch.Addr) error {
	off, size := t.at(uint64(base))
	var own Function
	for at := base; size >= 4 && at < base+4*maxDistances; at, off, size = at+4, off+4, size-4 {
		b := t.read(off)
		if b == nil {
			return nil
		}
		to := base + arch.Addr(int64(int32(binary.LittleEndian.Uint32(b))))
		if !t.o.Executable(uint64(to)) {
			return nil
		}
		if at == base {
			own, _ = t.function(to)
		}
		if at < next || to >= own.Addr && to < own.End() {
			if err := t.take(to); err != nil {
				return err
			}
		}
	}
	return nil
}

// at is where in the file the data, or the code, at an address lies, and how much of it.
func (t *tables) at(a uint64) (off, size uint64) {
	i := sort.Search(len(t.parts), func(i int) bool { return t.parts[i].Addr > a })
	if i > 0 && t.parts[i-1].Contains(a) {
		s := t.parts[i-1]
		return s.Off + (a - s.Addr), s.Size - (a - s.Addr)
	}
	if s, ok := t.o.CodeAround(a); ok {
		return s.Off + (a - s.Vaddr), s.Filesz - (a - s.Vaddr)
	}
	return 0, 0
}

// read gives 4 bytes of the file, nil if it has not so many: tables are asked for one
// behind the other.
func (t *tables) read(off uint64) []byte {
	l := &t.last
	if off < l.off || off-l.off+4 > uint64(len(l.b)) {
		l.off = off
		l.b, _ = t.o.Read(off, min(textChunk, uint64(t.o.Size)-min(off, uint64(t.o.Size))))
		if len(l.b) < 4 {
			return nil
		}
	}
	return l.b[off-l.off:][:4]
}
