package raw

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// Bounds of what a compressed section inflates to. Debug information becomes 3 to 8 times as
// large; sections that are mostly zeros more.
const (
	inflateFactor = 64
	inflateFloor  = 1 << 20
	maxInflated   = 8 << 30
	maxInMemory   = 256 << 10 // what is larger goes to a file without a name
)

// Sizes of what a compressed section begins with.
const (
	chdrSize = 24 // Elf64_Chdr
	gnuSize  = 12 // "ZLIB", and the size as 8 bytes, big-endian
)

// Open finds a section of an object by the end of its name, and inflates it where it is
// compressed: by SHF_COMPRESSED, or in the older way of GNU's tools with a name of its own.
func Open(o *elffile.Object, name string) (*Section, error) {
	if s, err := joined(o, ".debug_"+name); s != nil || err != nil {
		return s, err
	}
	if s, ok := o.Section(".debug_" + name); ok {
		plain := &Section{Name: s.Name, r: o.Reader, Off: s.Off, Size: s.Size}
		if !s.Compressed() {
			return plain, nil
		}
		return inflateELF(plain)
	}
	if s, ok := o.Section(".zdebug_" + name); ok {
		plain := &Section{Name: s.Name, r: o.Reader, Off: s.Off, Size: s.Size}
		head, err := plain.At(0, gnuSize)
		if err != nil {
			return nil, err
		}
		if string(head[:4]) == "ZLIB" {
			return inflate(plain, elf.COMPRESS_ZLIB, gnuSize, binary.BigEndian.Uint64(head[4:]))
		}
	}
	return none(".debug_" + name), nil
}

// joined joins the sections of one name, nil if there is no more than one. A .dwo file, which no
// linker has made, has one for each type.
func joined(o *elffile.Object, name string) (*Section, error) {
	if !strings.HasSuffix(name, ".dwo") {
		return nil, nil
	}
	n := 0
	for _, s := range o.Sections {
		if s.Name == name {
			n++
		}
	}
	if n < 2 {
		return nil, nil
	}
	all := &Section{Name: name}
	for _, s := range o.Sections {
		if s.Name != name {
			continue
		}
		one := &Section{Name: name, r: o.Reader, Off: s.Off, Size: s.Size}
		var err error
		if s.Compressed() {
			one, err = inflateELF(one)
		}
		if err != nil {
			return nil, err
		}
		b, err := one.At(0, one.Size)
		if err != nil {
			return nil, err
		}
		if all.Mem = append(all.Mem, b...); len(all.Mem) > maxJoined {
			return nil, fmt.Errorf("%s: more than %d bytes: %w", name, maxJoined, elffile.ErrBudget)
		}
	}
	all.Size = uint64(len(all.Mem))
	return all, nil
}

// maxJoined is how large the sections of one name may be together.
const maxJoined = 256 << 20

// inflateELF inflates a section that has an Elf64_Chdr.
func inflateELF(s *Section) (*Section, error) {
	head, err := s.At(0, chdrSize)
	if err != nil {
		return nil, err
	}
	return inflate(s, elf.CompressionType(binary.LittleEndian.Uint32(head)), chdrSize, binary.LittleEndian.Uint64(head[8:]))
}

// inflate inflates a section to the size that its header tells.
func inflate(s *Section, how elf.CompressionType, head, size uint64) (*Section, error) {
	packed := s.Size - head
	if size > maxInflated || size > inflateFloor+inflateFactor*packed {
		return nil, fmt.Errorf("%s: %d bytes that inflate to %d: %w", s.Name, packed, size, elffile.ErrBudget)
	}
	in := io.NewSectionReader(s.r, int64(s.Off+head), int64(packed))
	var r io.Reader
	switch how {
	case elf.COMPRESS_ZLIB:
		z, err := zlib.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFormat, s.Name, err)
		}
		defer z.Close()
		r = z
	case elf.COMPRESS_ZSTD:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxInflated), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFormat, s.Name, err)
		}
		defer z.Close()
		r = z
	default:
		return nil, fmt.Errorf("%w: %s is compressed by %v, which is not known", ErrFormat, s.Name, how)
	}
	out := &Section{Name: s.Name, Size: size}
	if size <= maxInMemory {
		out.Mem = make([]byte, size)
		if _, err := io.ReadFull(r, out.Mem); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFormat, s.Name, err)
		}
		return out, nil
	}
	f, err := objfile.Scratch("debug information")
	if err != nil {
		return nil, err
	}
	if n, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(r, int64(size)), make([]byte, 128<<10)); err != nil || uint64(n) < size {
		f.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, s.Name, elffile.NoEOF(err))
	}
	out.r = f
	return out, nil
}
