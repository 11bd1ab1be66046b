package elffile

import (
	"debug/elf"
	"encoding/binary"
	"errors"
)

// hashTable finds names in .dynsym as the dynamic loader does.
type hashTable struct {
	gnu bool
	at  Section
}

// newHash finds the hash table that goes with dynsym, nil if there is none.
func newHash(o *Object) *hashTable {
	for _, gnu := range []bool{true, false} {
		name := ".hash"
		if gnu {
			name = ".gnu.hash"
		}
		if s, ok := o.Section(name); ok {
			return &hashTable{gnu, s}
		}
	}
	return nil
}

var errHash = errors.New("damaged hash table")

// maxChain is more symbols than have one hash, or lie in one bucket.
const maxChain = 1 << 12

// word reads the i-th 32-bit word of the table.
func (h *hashTable) word(o *Object, i uint64) (uint32, error) {
	if i >= h.at.Size/4 {
		return 0, errHash
	}
	b, err := o.Read(h.at.Off+4*i, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

// find yields the functions of that name; a damaged table is as good as none.
func (h *hashTable) find(t *Table, name string, yield func(Symbol)) error {
	candidates := h.sysv
	if h.gnu {
		candidates = h.gnuChain
	}
	list, err := candidates(t.o, name)
	if err != nil {
		plain := *t
		plain.hash = nil
		return plain.Named(name, true, func(s string) bool { return s == name }, yield)
	}
	for _, n := range list {
		if uint64(n) >= t.syms.Size/symSize {
			continue
		}
		b, err := t.o.Read(t.syms.Off+uint64(n)*symSize, symSize)
		if err != nil {
			return err
		}
		if !t.isCode(entry(b)) {
			continue
		}
		if s, ok := entry(b).symbol(t.nameAt(entry(b).name())); ok && s.Name == name {
			yield(s)
		}
	}
	return nil
}

// gnuChain lists the symbols in the bucket of name whose hash is the same. The
// table: nbuckets, symoffset, bloom size, shift; bloom words; buckets; chains.
func (h *hashTable) gnuChain(o *Object, name string) (list []uint32, err error) {
	head, err := o.Read(h.at.Off, 16)
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
func (h *hashTable) sysv(o *Object, name string) (list []uint32, err error) {
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

// DynamicTables finds the dynamic symbols of a file without section headers
// by its dynamic segment.
func DynamicTables(o *Object) (*Table, bool) {
	var value [4]uint64 // of tags
	tags := [4]elf.DynTag{elf.DT_SYMTAB, elf.DT_STRTAB, elf.DT_STRSZ, elf.DT_HASH}
	gnu := uint64(0)
	for _, s := range o.Segments {
		if s.Type != elf.PT_DYNAMIC || s.Filesz > maxDynamic {
			continue
		}
		b, err := o.Read(s.Off, s.Filesz)
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
	strs.Size = min(strs.Size, value[2])
	// Nothing says how many symbols there are, but the names lie behind them
	// in every linker's layout.
	if strs.Off > syms.Off {
		syms.Size = min(syms.Size, strs.Off-syms.Off)
	}
	t := &Table{o: o, main: o, syms: syms, strs: strs}
	if at, ok := o.mapped(gnu); ok && gnu != 0 {
		t.hash = &hashTable{true, at}
	} else if at, ok := o.mapped(value[3]); ok && value[3] != 0 {
		t.hash = &hashTable{false, at}
	}
	return t, true
}

// mapped is what a segment has at a and behind, as if it were a section.
func (o *Object) mapped(a uint64) (Section, bool) {
	s, ok := o.Span(a, 1, 0)
	if !ok || s.Off+(a-s.Vaddr) > uint64(o.Size) {
		return Section{}, false
	}
	off := s.Off + (a - s.Vaddr)
	return Section{Off: off, Size: min(s.Filesz-(a-s.Vaddr), uint64(o.Size)-off)}, true
}
