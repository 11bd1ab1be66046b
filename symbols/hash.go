package symbols

import (
	"debug/elf"
	"encoding/binary"
	"errors"
)

// hashTable finds names in .dynsym as the dynamic loader does.
type hashTable struct {
	gnu bool
	at  section
}

// newHash finds the hash table that goes with dynsym, nil if there is none.
func newHash(o *object) *hashTable {
	for _, gnu := range []bool{true, false} {
		name := ".hash"
		if gnu {
			name = ".gnu.hash"
		}
		if s, ok := o.section(name); ok {
			return &hashTable{gnu, s}
		}
	}
	return nil
}

var errHash = errors.New("damaged hash table")

// maxChain is more symbols than have one hash, or lie in one bucket.
const maxChain = 1 << 12

// word reads the i-th 32-bit word of the table.
func (h *hashTable) word(o *object, i uint64) (uint32, error) {
	if i >= h.at.size/4 {
		return 0, errHash
	}
	b, err := o.read(h.at.off+4*i, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

// find yields the functions of that name; a damaged table is as good as none.
func (h *hashTable) find(t *symtab, name string, yield func(symbol)) error {
	candidates := h.sysv
	if h.gnu {
		candidates = h.gnuChain
	}
	list, err := candidates(t.o, name)
	if err != nil {
		plain := *t
		plain.hash = nil
		return plain.named(name, true, func(s string) bool { return s == name }, yield)
	}
	for _, n := range list {
		if uint64(n) >= t.syms.size/symSize {
			continue
		}
		b, err := t.o.read(t.syms.off+uint64(n)*symSize, symSize)
		if err != nil {
			return err
		}
		if !t.isCode(entry(b)) {
			continue
		}
		if s, ok := entry(b).symbol(t.nameAt(entry(b).name())); ok && s.name == name {
			yield(s)
		}
	}
	return nil
}

// gnuChain lists the symbols in the bucket of name whose hash is the same. The
// table: nbuckets, symoffset, bloom size, shift; bloom words; buckets; chains.
func (h *hashTable) gnuChain(o *object, name string) (list []uint32, err error) {
	head, err := o.read(h.at.off, 16)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	buckets, first, bloom := uint64(le.Uint32(head)), uint64(le.Uint32(head[4:])), uint64(le.Uint32(head[8:]))
	if buckets == 0 {
		return nil, errHash
	}
	hash := gnuHash(name)
	n, err := h.word(o, 4+2*bloom+uint64(hash)%buckets)
	if err != nil || n == 0 {
		return nil, err
	}
	if uint64(n) < first {
		return nil, errHash
	}
	for i := uint64(n); i < uint64(n)+maxChain; i++ {
		w, err := h.word(o, 4+2*bloom+buckets+i-first)
		if err != nil {
			return nil, err
		}
		if w|1 == hash|1 {
			list = append(list, uint32(i))
		}
		if w&1 != 0 {
			return list, nil
		}
	}
	return nil, errHash
}

// sysv lists the symbols in the chain of name. The table: nbucket, nchain;
// buckets; chains.
func (h *hashTable) sysv(o *object, name string) (list []uint32, err error) {
	buckets, err := h.word(o, 0)
	if err != nil || buckets == 0 {
		return nil, errHash
	}
	chains, err := h.word(o, 1)
	if err != nil {
		return nil, err
	}
	n, err := h.word(o, 2+uint64(sysvHash(name)%buckets))
	for ; err == nil && n != 0; n, err = h.word(o, 2+uint64(buckets)+uint64(n)) {
		list = append(list, n)
		// A damaged chain may go round in a ring.
		if n >= chains || len(list) > maxChain {
			return nil, errHash
		}
	}
	return list, err
}

func gnuHash(name string) uint32 {
	h := uint32(5381)
	for i := range len(name) {
		h = h*33 + uint32(name[i])
	}
	return h
}

func sysvHash(name string) uint32 {
	h := uint32(0)
	for i := range len(name) {
		h = h<<4 + uint32(name[i])
		g := h & 0xf0000000
		h ^= g>>24 ^ g
	}
	return h
}

// dynamicTables finds the dynamic symbols of a file without section headers
// by its dynamic segment.
func dynamicTables(o *object) (*symtab, bool) {
	var value [4]uint64 // of tags
	tags := [4]elf.DynTag{elf.DT_SYMTAB, elf.DT_STRTAB, elf.DT_STRSZ, elf.DT_HASH}
	gnu := uint64(0)
	for _, s := range o.segments {
		if s.typ != elf.PT_DYNAMIC || s.filesz > maxDynamic {
			continue
		}
		b, err := o.read(s.off, s.filesz)
		for ; err == nil && len(b) >= 16; b = b[16:] {
			tag, v := elf.DynTag(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint64(b[8:])
			for i, want := range tags {
				if tag == want {
					value[i] = v
				}
			}
			if tag == elf.DT_GNU_HASH {
				gnu = v
			}
		}
	}
	syms, ok1 := o.mapped(value[0])
	strs, ok2 := o.mapped(value[1])
	if !ok1 || !ok2 || value[0] == 0 {
		return nil, false
	}
	strs.size = min(strs.size, value[2])
	// Nothing says how many symbols there are, but the names lie behind them
	// in every linker's layout.
	if strs.off > syms.off {
		syms.size = min(syms.size, strs.off-syms.off)
	}
	t := &symtab{o: o, main: o, syms: syms, strs: strs}
	if at, ok := o.mapped(gnu); ok && gnu != 0 {
		t.hash = &hashTable{true, at}
	} else if at, ok := o.mapped(value[3]); ok && value[3] != 0 {
		t.hash = &hashTable{false, at}
	}
	return t, true
}

// mapped is what a segment has at a and behind, as if it were a section.
func (o *object) mapped(a uint64) (section, bool) {
	s, ok := o.span(a, 1, 0)
	if !ok || s.off+(a-s.vaddr) > uint64(o.size) {
		return section{}, false
	}
	off := s.off + (a - s.vaddr)
	return section{off: off, size: min(s.filesz-(a-s.vaddr), uint64(o.size)-off)}, true
}
