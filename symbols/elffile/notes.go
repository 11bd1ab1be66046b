package elffile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
)

// gnuBuildID is the type of the note of a build-id (NT_GNU_BUILD_ID), whose owner is GNU.
const gnuBuildID = 3

// Bounds of notes, in bytes: of all in a file, and of a build-id, which is a hash.
const (
	maxNotes   = 1 << 21
	maxBuildID = 64
)

// BuildID is the GNU build-id in hexadecimal.
func (o *Object) BuildID() string {
	id, _ := o.Note("GNU", gnuBuildID)
	return hex.EncodeToString(id[:min(len(id), maxBuildID)])
}

// Note finds the content of a note, in segments or, in debug files, where
// segments have no bytes, in sections.
func (o *Object) Note(owner string, typ uint32) ([]byte, bool) {
	left := uint64(maxNotes)
	look := func(off, size uint64) (desc []byte, ok bool) {
		if size > left {
			return nil, false
		}
		left -= size
		b, err := o.Read(off, size)
		if err != nil {
			return nil, false
		}
		return findNote(b, owner, typ)
	}
	for _, s := range o.Sections {
		if s.Type == elf.SHT_NOTE {
			if desc, ok := look(s.Off, s.Size); ok {
				return desc, true
			}
		}
	}
	for _, s := range o.Segments {
		if s.Type == elf.PT_NOTE {
			if desc, ok := look(s.Off, s.Filesz); ok {
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
