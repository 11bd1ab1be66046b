package symbols

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/frames"
	"github.com/ptracer/ptracer/symbols/gofile"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// ErrNotFound is wrapped by errors that say a name or an address is nowhere.
var ErrNotFound = errors.New("not found")

// File is one ELF object. Opening reads its headers; tables are parsed when
// first needed, and kept. It is safe for concurrent use.
type File struct {
	obj       *elffile.Object
	name      string
	root      string // prefix under which name is to be found: another mount namespace's root
	closer    io.Closer
	lookups   atomic.Int32
	whole     atomic.Bool // table has been built
	sources   func() []elffile.Source
	table     func() (*table, error)
	frames    func() *frames.Table
	goCalls   func() *gofile.Calls
	isGo      func() bool
	slots     func() *elffile.Slots
	debug     debug
	lands     landings
	last      lastCode
	lastText  lastText
	variables sync.Map // arch.Addr by name
	unread    objfile.Reasons
}

// Open opens the ELF object at path.
func Open(path string) (*File, error) {
	r, err := objfile.Open(path)
	if errors.Is(err, objfile.ErrNotRegular) {
		return nil, fmt.Errorf("%w: %w", err, elffile.ErrFormat)
	}
	if err != nil {
		return nil, err
	}
	return openFile(r, path)
}

// openFile makes a File of r, and closes it if that fails.
func openFile(r *os.File, name string) (*File, error) {
	st, err := r.Stat()
	if err != nil {
		r.Close()
		return nil, err
	}
	f, err := NewFile(r, st.Size(), name)
	if err != nil {
		r.Close()
		return nil, err
	}
	f.closer = r
	return f, nil
}

// NewFile reads an ELF object of size bytes. The name is the path by which a
// separate debug file may be found, and what errors call it.
func NewFile(r io.ReaderAt, size int64, name string) (*File, error) {
	obj, err := elffile.New(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := &File{obj: obj, name: name}
	f.sources = sync.OnceValue(f.findSources)
	f.isGo = sync.OnceValue(func() bool { return gofile.Is(obj) })
	f.goCalls = sync.OnceValue(func() *gofile.Calls { return gofile.ReadCalls(obj) })
	f.frames = sync.OnceValue(func() *frames.Table { return frames.Read(obj) })
	f.slots = sync.OnceValue(func() *elffile.Slots { return elffile.ReadSlots(obj) })
	f.table = sync.OnceValues(func() (*table, error) {
		t, err := f.readTable()
		f.whole.Store(true)
		return t, err
	})
	return f, nil
}

// Unread is why some of the file's names are not known, nil where nothing was in the way: a
// table, or a separate debug file, that there is and that could not be read.
func (f *File) Unread() error { return f.unread.Err() }

// Close closes what Open opened. Tables that have been read stay.
func (f *File) Close() error {
	errs := []error{f.debug.close()}
	if f.closer != nil {
		errs = append(errs, f.closer.Close())
	}
	return errors.Join(errs...)
}

// Name is the path or name that the file was opened by.
func (f *File) Name() string { return f.name }

// Machine is the CPU that the file is for.
func (f *File) Machine() elf.Machine { return f.obj.Machine }

// Type is the kind of object: program at a fixed address (ET_EXEC), or
// position-independent program or library (ET_DYN).
func (f *File) Type() elf.Type { return f.obj.Type }

// Entry is the vaddr where a program starts.
func (f *File) Entry() arch.Addr { return f.obj.Entry }

// BuildID is the GNU build-id in hexadecimal, "" if there is none.
func (f *File) BuildID() string { return f.obj.BuildID() }

// Interp is the path of the dynamic loader that a program asks for.
func (f *File) Interp() string {
	for _, s := range f.obj.Segments {
		if s.Type == elf.PT_INTERP && s.Filesz <= elffile.PageSize {
			b, err := f.obj.Read(s.Off, s.Filesz)
			if err != nil {
				return ""
			}
			return elffile.CString(append(b, 0), 0)
		}
	}
	return ""
}

// IsGo reports whether the file has Go code.
func (f *File) IsGo() bool { return f.isGo() }

// Unwind tells how to find the caller's frame at an instruction, by the call frame
// information that is loaded with the program; see frames.Table.
func (f *File) Unwind(vaddr arch.Addr) (frames.Row, bool) { return f.frames().Unwind(vaddr) }

// Convention is how fn is called; see gofile.Calls.
func (f *File) Convention(fn Function) arch.Convention {
	if !f.IsGo() {
		return arch.C
	}
	return f.goCalls().Of(fn.Addr, fn.Names())
}
