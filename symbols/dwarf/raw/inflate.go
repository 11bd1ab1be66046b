package raw

import (
	"bytes"
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
func Open(o *elffile.Object, name string, cache *Cache) (*Section, error) {
	if s, err := joined(o, ".debug_"+name); s != nil || err != nil {
		return s, err
	}
	if s, ok := o.Section(".debug_" + name); ok {
		plain := &Section{Name: s.Name, r: o.Reader, Off: s.Off, Size: s.Size}
		if !s.Compressed() {
			return plain, nil
		}
		return inflateELF(plain, cache)
	}
	if s, ok := o.Section(".zdebug_" + name); ok {
		plain := &Section{Name: s.Name, r: o.Reader, Off: s.Off, Size: s.Size}
		head, err := plain.At(0, gnuSize)
		if err != nil {
			return nil, err
		}
		if string(head[:4]) == "ZLIB" {
			return inflate(plain, elf.COMPRESS_ZLIB, gnuSize, binary.BigEndian.Uint64(head[4:]), cache)
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
			one, err = inflateELF(one, nil)
		}
		if err != nil {
			return nil, err
		}
		if uint64(len(all.Mem))+one.Size > maxJoined {
			return nil, fmt.Errorf("%s: more than %d bytes: %w", name, maxJoined, elffile.ErrBudget)
		}
		b, err := one.At(0, one.Size)
		if err != nil {
			return nil, err
		}
		all.Mem = append(all.Mem, b...)
	}
	all.Size = uint64(len(all.Mem))
	return all, nil
}

// maxJoined is how large the sections of one name may be together.
const maxJoined = 256 << 20

// inflateELF inflates a section that has an Elf64_Chdr.
func inflateELF(s *Section, cache *Cache) (*Section, error) {
	head, err := s.At(0, chdrSize)
	if err != nil {
		return nil, err
	}
	return inflate(s, elf.CompressionType(binary.LittleEndian.Uint32(head)), chdrSize, binary.LittleEndian.Uint64(head[8:]), cache)
}

// inflate inflates a section to the size that its header tells: what is large to a file, in the cache
// if there is one.
func inflate(s *Section, how elf.CompressionType, head, size uint64, cache *Cache) (*Section, error) {
	packed := s.Size - head
	if size > maxInflated || size > inflateFloor+inflateFactor*packed {
		return nil, fmt.Errorf("%s: %d bytes that inflate to %d: %w", s.Name, packed, size, elffile.ErrBudget)
	}
	in := io.NewSectionReader(s.r, int64(s.Off+head), int64(packed))
	if size <= maxInMemory {
		out := bytes.NewBuffer(make([]byte, 0, size))
		if err := unpack(out, in, s.Name, how, size); err != nil {
			return nil, err
		}
		return &Section{Name: s.Name, Mem: out.Bytes(), Size: size}, nil
	}
	part := fmt.Sprint(s.Name, s.Off, s.Size)
	write := func(w io.Writer) error { return unpack(w, in, s.Name, how, size) }
	out := cache.Open(part)
	if out == nil {
		var err error
		if out, err = cache.Save(part, write); err != nil {
			return nil, err
		}
	}
	if out == nil || out.Size != size {
		f, err := objfile.Scratch("debug information")
		if err != nil {
			return nil, err
		}
		in = io.NewSectionReader(s.r, int64(s.Off+head), int64(packed))
		if err := write(f); err != nil {
			f.Close()
			return nil, err
		}
		out = &Section{r: f, Size: size}
	}
	out.Name = s.Name
	return out, nil
}

// unpack writes what compressed bytes inflate to.
func unpack(w io.Writer, in io.Reader, name string, how elf.CompressionType, size uint64) error {
	var r io.Reader
	switch how {
	case elf.COMPRESS_ZLIB:
		z, err := zlib.NewReader(in)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
		}
		defer z.Close()
		r = z
	case elf.COMPRESS_ZSTD:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxInflated), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
		}
		defer z.Close()
		r = z
	default:
		return fmt.Errorf("%w: %s is compressed by %v, which is not known", ErrFormat, name, how)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(r, int64(size)), make([]byte, 128<<10))
	if err != nil || uint64(n) < size {
		return fmt.Errorf("%w: %s: %w", ErrFormat, name, elffile.NoEOF(err))
	}
	return nil
}
