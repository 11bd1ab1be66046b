package program

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/ptracer/ptracer/failure"
)

// maxSection is the largest section, in bytes, that the tracer allocates for an object file: a
// section without contents can claim any size.
const maxSection = 1 << 26

// Load reads an object file of clang -target bpf. All programs in it share the maps that any of
// them uses: Maps is the same for all. Variables are maps, too, named after their sections (.data,
// .rodata, .bss). The programs are sorted by name.
//
// Load reads programs for uprobes, uretprobes, kprobes and kretprobes. It refuses features that
// depend on the running kernel with an *Error that wraps a failure.Unsupported and names the
// section, the instruction and the feature: relocations against the kernel's types (CO-RE), kernel
// functions and variables, tail calls, and helpers and maps that do not exist here.
func Load(r io.ReaderAt) (programs []*Program, err error) {
	if err := checkObject(r); err != nil {
		return nil, fmt.Errorf("object file: %w: %w", ErrInvalid, err)
	}
	c, err := loadCollection(r)
	if err != nil {
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil, fmt.Errorf("object file: %w", &failure.Unsupported{Err: err})
		}
		return nil, fmt.Errorf("object file: %w: %w", ErrInvalid, err)
	}
	if len(c.Programs) == 0 {
		return nil, fmt.Errorf("object file: %w: no programs", ErrInvalid)
	}
	var specs []*ebpf.ProgramSpec
	for _, name := range slices.Sorted(maps.Keys(c.Programs)) {
		specs = append(specs, c.Programs[name])
	}
	shared, err := usedMaps(specs, c.Maps)
	if err != nil {
		return nil, fmt.Errorf("object file: %w", err)
	}
	for _, s := range specs {
		p, err := fromSpec(s, shared)
		if err != nil {
			return nil, err
		}
		programs = append(programs, p)
	}
	return programs, nil
}

// loadCollection is cilium's reader, protected from files that it should not trust.
func loadCollection(r io.ReaderAt) (c *ebpf.CollectionSpec, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("damaged: %v", v)
		}
	}()
	return ebpf.LoadCollectionSpecFromReader(r)
}

// checkObject refuses files that would cost too much to read.
func checkObject(r io.ReaderAt) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("damaged: %v", v)
		}
	}()
	f, err := elf.NewFile(r)
	if err != nil {
		return err
	}
	if f.Machine != elf.EM_BPF && f.Machine != elf.EM_NONE {
		return fmt.Errorf("made for %v, not for eBPF", f.Machine)
	}
	if f.ByteOrder.String() != "LittleEndian" {
		return errors.New("big endian")
	}
	for _, s := range f.Sections {
		if s.Size > maxSection {
			return fmt.Errorf("section %s has %d bytes, there may be %d", s.Name, s.Size, maxSection)
		}
		if strings.HasPrefix(s.Name, ".") && s.Flags&elf.SHF_COMPRESSED != 0 {
			return fmt.Errorf("section %s is compressed", s.Name)
		}
	}
	return nil
}
