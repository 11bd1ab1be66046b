// Package forge makes ELF files for tests: they may say of themselves what they like.
package forge

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// File is an ELF file of headers that need not be so.
type File struct {
	Machine  elf.Machine // 0: amd64's
	Segments []elf.Prog64
	Sections []Section
	Size     uint64 // of the file; what is not written is a hole
	Mapped   int    // the section that is loaded as data, 0: none
	Overlay  string // sections without a name have ends of this one
	Bare     bool   // there are no section headers
}

// Section lies where its header says or, with data, where there is room.
type Section struct {
	Name   string
	Header elf.Section64
	Data   []byte
}

// Text is where the code is, in the file and loaded.
const Text = 0x1000

var (
	segmentSize = binary.Size(elf.Prog64{})
	sectionSize = binary.Size(elf.Section64{})
)

// With adds a section: data, or what it says to have of the file.
func (f *File) With(name string, typ elf.SectionType, header elf.Section64, data []byte) *File {
	header.Type, header.Flags = uint32(typ), uint64(elf.SHF_ALLOC)
	f.Sections = append(f.Sections, Section{name, header, data})
	return f
}

// Bytes gives the sections their places, and what of the file is not a hole.
func (f *File) Bytes() []byte {
	le := binary.LittleEndian
	b := make([]byte, Text+0x1000)
	names := []byte{0}
	if f.Overlay != "" {
		names = append(append(names, f.Overlay...), 0)
	}
	headers := make([]byte, sectionSize)
	f.Sections = append(f.Sections, Section{".shstrtab", elf.Section64{Type: uint32(elf.SHT_STRTAB)}, []byte{0}})
	for i, s := range f.Sections {
		h := s.Header
		if h.Name = uint32(len(names)); s.Name != "" {
			names = append(append(names, s.Name...), 0)
		} else if f.Overlay != "" {
			h.Name = 1 + uint32(i)
		}
		if s.Name == ".shstrtab" {
			s.Data = names
		}
		if s.Data != nil {
			b = append(b, make([]byte, -len(b)&15)...)
			h.Off, h.Size = uint64(len(b)), uint64(len(s.Data))
			b = append(b, s.Data...)
		}
		if i == f.Mapped && i > 0 {
			f.Segments = append(f.Segments, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Off: h.Off, Vaddr: h.Addr, Filesz: h.Size, Memsz: h.Size})
		}
		headers = appendHeader(headers, h)
	}
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	le.PutUint16(b[16:], uint16(elf.ET_DYN))
	le.PutUint16(b[18:], uint16(elf.EM_X86_64))
	if f.Machine != 0 {
		le.PutUint16(b[18:], uint16(f.Machine))
	}
	b = append(b, make([]byte, -len(b)&15)...)
	le.PutUint64(b[32:], uint64(len(b)))
	le.PutUint16(b[54:], uint16(segmentSize))
	le.PutUint16(b[56:], uint16(len(f.Segments)))
	for _, s := range f.Segments {
		b = appendHeader(b, s)
	}
	if !f.Bare {
		b = append(b, make([]byte, -len(b)&15)...)
		le.PutUint64(b[40:], uint64(len(b)))
		le.PutUint16(b[58:], uint16(sectionSize))
		le.PutUint16(b[60:], uint16(len(headers)/sectionSize))
		le.PutUint16(b[62:], uint16(len(headers)/sectionSize-1))
		b = append(b, headers...)
	}
	return b
}

// appendHeader appends a header as a file has it.
func appendHeader(b []byte, header any) []byte {
	var text bytes.Buffer
	if err := binary.Write(&text, binary.LittleEndian, header); err != nil {
		panic(err)
	}
	return append(b, text.Bytes()...)
}

// FrameAddr is where forged rules for unwinding are loaded.
const FrameAddr = 0x400000

// Frames is .eh_frame for the code of a forged file: one CIE and one FDE with these rules.
func Frames(cie, rules []byte) []byte {
	le := binary.LittleEndian
	b := append(le.AppendUint32(nil, uint32(len(cie))), cie...)
	start := int64(Text) - int64(FrameAddr+len(b)+8)
	fde := le.AppendUint32(le.AppendUint32(nil, uint32(len(b)+4)), uint32(start))
	fde = append(append(le.AppendUint32(fde, 0x1000), 0), rules...)
	return append(le.AppendUint32(b, uint32(len(fde))), fde...)
}
