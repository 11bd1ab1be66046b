package symbols

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
)

// Types of ELF notes that are read.
const (
	gnuBuildID = 3 // NT_GNU_BUILD_ID, owner GNU
	goBuildID  = 4 // ELF_NOTE_GOBUILDID_TAG, owner Go
)

// Bounds of notes, in bytes: of all in a file, and of a build-id, which is a hash.
const (
	maxNotes   = 1 << 21
	maxBuildID = 64
)

// buildID is the GNU build-id in hexadecimal.
func (o *object) buildID() string {
	id, _ := o.note("GNU", gnuBuildID)
	return hex.EncodeToString(id[:min(len(id), maxBuildID)])
}

// note finds the content of a note, in segments or, in debug files, where
// segments have no bytes, in sections.
func (o *object) note(owner string, typ uint32) ([]byte, bool) {
	left := uint64(maxNotes)
	look := func(off, size uint64) (desc []byte, ok bool) {
		if size > left {
			return nil, false
		}
		left -= size
		b, err := o.read(off, size)
		if err != nil {
			return nil, false
		}
		return findNote(b, owner, typ)
	}
	for _, s := range o.sections {
		if s.typ == elf.SHT_NOTE {
			if desc, ok := look(s.off, s.size); ok {
				return desc, true
			}
		}
	}
	for _, s := range o.segments {
		if s.typ == elf.PT_NOTE {
			if desc, ok := look(s.off, s.filesz); ok {
				return desc, true
			}
		}
	}
	return nil, false
}

// findNote walks a list of notes: sizes of name and content, type, then both,
// each padded to 4 bytes.
func findNote(b []byte, owner string, typ uint32) ([]byte, bool) {
	le := binary.LittleEndian
	for len(b) >= 12 {
		namesz, descsz, t := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		b = b[12:]
		name, next := namesz, (namesz+3)&^3
		if next > uint64(len(b)) || descsz > uint64(len(b))-next {
			return nil, false
		}
		if t == typ && string(bytes.TrimRight(b[:name], "\x00")) == owner {
			return b[next : next+descsz], true
		}
		b = b[min(uint64(len(b)), next+(descsz+3)&^3):]
	}
	return nil, false
}
