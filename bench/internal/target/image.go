package target

// Where the program lies: the file is mapped as it is, from its first byte.
const (
	base     = 0x400000
	textOff  = 4096
	linkAddr = 0x800000 // of what a Linked program has for its loader, which begins with
	exitAddr = linkAddr // the address of the C library's exit
)

// Image is an executable, and what lies where in it.
type Image struct {
	Kind
	File    []byte // an ELF executable, static, at a fixed address, with symbols
	Sites   []Site
	Missing []Missing // classes of sites that this CPU has not got
	Trap    []byte    // the instruction that debuggers plant
	Symbols []Symbol
	// Stride is how many bytes the functions many_0000, many_0001... lie apart.
	Stride uint64
}

// Kind says which program is to be made.
type Kind struct {
	Arch string // GOARCH's name
	// Many is how many functions there are beside those with sites.
	Many int
	// Linked is whether the dynamic loader starts it, so that a library can be
	// loaded into it. It has one thread then.
	Linked bool
}

// Build makes a program. It fails with an error that wraps errors.ErrUnsupported
// for a CPU that it does not know.
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

// Site is the site of a class.
func (img *Image) Site(class string) (Site, bool) {
	for _, s := range img.Sites {
		if s.Class == class {
			return s, true
		}
	}
	return Site{}, false
}

// Addr is where a function lies, 0 if there is none of that name.
func (img *Image) Addr(function string) uint64 {
	for _, s := range img.Symbols {
		if s.Name == function {
			return s.Addr
		}
	}
	return 0
}

// Offset is where an address lies in the file.
func Offset(addr uint64) uint64 { return addr - base }
