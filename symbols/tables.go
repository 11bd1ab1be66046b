package symbols

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"slices"

	"github.com/ptracer/ptracer/arch"
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
	code, parts []chunk // of executable segments; of data
	function    func(arch.Addr) (Function, bool)
	targets     []arch.Addr
}

// maxDistances is how many distances a table can have.
const maxDistances = 1 << 16

// collect reads the file's data; at each of the bases there may be a table.
func (t *tables) collect(o *object, bases []arch.Addr) error {
	for _, s := range o.dataParts() {
		if s.typ == elf.SHT_NOBITS {
			continue
		}
		b, err := o.data(s)
		if err != nil {
			return err
		}
		t.parts = append(t.parts, chunk{arch.Addr(s.addr), b})
		if s.typ == elf.SHT_RELA {
			t.relocations(b)
		}
		t.words(b[min((8-s.addr%8)%8, uint64(len(b))):])
	}
	slices.SortFunc(t.parts, func(a, b chunk) int { return cmp.Compare(a.addr, b.addr) })
	for i, base := range bases {
		next := base + 4*maxDistances
		if i+1 < len(bases) {
			next = bases[i+1]
		}
		t.distances(base, next)
	}
	return nil
}

// words takes the words of data that are addresses in code.
func (t *tables) words(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		if a := arch.Addr(binary.LittleEndian.Uint64(b)); t.inCode(a) {
			t.targets = append(t.targets, a)
		}
	}
}

// relocations takes the addends of relocations.
func (t *tables) relocations(rela []byte) {
	const size, addend = 24, 16
	for ; len(rela) >= size; rela = rela[size:] {
		if a := arch.Addr(binary.LittleEndian.Uint64(rela[addend:])); t.inCode(a) {
			t.targets = append(t.targets, a)
		}
	}
}

// distances takes what the table at base leads to, if one is there; next is where
// the next one may be.
func (t *tables) distances(base, next arch.Addr) {
	c, ok := t.at(base)
	if !ok {
		return
	}
	b := c.code[base-c.addr:]
	var own Function
	for at := base; len(b) >= 4 && at < base+4*maxDistances; at, b = at+4, b[4:] {
		to := base + arch.Addr(int64(int32(binary.LittleEndian.Uint32(b))))
		if !t.inCode(to) {
			return
		}
		if at == base {
			own, _ = t.function(to)
		}
		if at < next || to >= own.Addr && to < own.End() {
			t.targets = append(t.targets, to)
		}
	}
}

func (t *tables) inCode(a arch.Addr) bool {
	for _, c := range t.code {
		if a >= c.addr && a < c.addr+arch.Addr(len(c.code)) {
			return true
		}
	}
	return false
}

// at is the data, or the code, that an address lies in.
func (t *tables) at(a arch.Addr) (chunk, bool) {
	i, _ := slices.BinarySearchFunc(t.parts, a+1, func(c chunk, a arch.Addr) int { return cmp.Compare(c.addr, a) })
	list := t.code
	if i > 0 {
		list = append([]chunk{t.parts[i-1]}, list...)
	}
	for _, c := range list {
		if a >= c.addr && a < c.addr+arch.Addr(len(c.code)) {
			return c, true
		}
	}
	return chunk{}, false
}
