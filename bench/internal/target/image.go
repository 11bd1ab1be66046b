package target

// The program's addresses: the file is mapped unchanged, from its first byte.
const (
	base     = 0x400000
	textOff  = 4096
	linkAddr = 0x800000 // of a Linked program's data for its loader, which begins with
	exitAddr = linkAddr // the address of the C library's exit
)

// Image is an executable, with the places in it.
type Image struct {
	Kind
	File    []byte // an ELF executable, static, at a fixed address, with symbols
	Sites   []Site
	Missing []Missing // classes of sites that this CPU does not have
	Trap    []byte    // the instruction that debuggers plant
	Symbols []Symbol
	// Stride is the distance in bytes between the functions many_0000, many_0001...
	Stride uint64
}

// Kind selects the program to make.
type Kind struct {
	Arch string // GOARCH
	// Many is the number of functions besides those with sites.
	Many int
	// Linked makes the dynamic loader start the program, so that a library can be loaded into it.
	// The program then has one thread.
	Linked bool
}

// Build makes a program. For an unknown CPU it returns an error that wraps errors.ErrUnsupported.
func Build(k Kind) (*Image, error) {
	set, err := setOf(k.Arch)
	if err != nil {
		return nil, err
	}
	a := newAssembler(set, base+textOff)
	w := writer{a}
	codes := a.sites()
	for _, c := range codes {
		c.write(a)
	}
	w.fn("leaf", 64, w.ret)
	w.program()
	img := &Image{Kind: k, Stride: w.many(k.Many), Missing: a.missing(), Trap: a.trap(), Symbols: a.symbols}
	if err := a.finish(); err != nil {
		return nil, err
	}
	for _, c := range codes {
		img.Sites = append(img.Sites, c.site(a))
	}
	img.File = image(a, k.Linked)
	return img, nil
}

// Site returns the site with a class.
func (img *Image) Site(class string) (Site, bool) {
	for _, s := range img.Sites {
		if s.Class == class {
			return s, true
		}
	}
	return Site{}, false
}

// Addr returns the address of a function, 0 if there is none with that name.
func (img *Image) Addr(function string) uint64 {
	for _, s := range img.Symbols {
		if s.Name == function {
			return s.Addr
		}
	}
	return 0
}

// Offset returns the place of an address in the file.
func Offset(addr uint64) uint64 { return addr - base }
