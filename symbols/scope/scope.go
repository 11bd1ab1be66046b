// Package scope finds what names of the source mean at an address of a program: arguments, variables
// and constants with their types, and where their values are there. It reads files, and computes no
// value: package bind makes expressions of what is found, a debugger evaluates it.
package scope

import (
	sd "debug/dwarf"
	"errors"
	"fmt"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/dwarf/op"
	"github.com/ptracer/ptracer/symbols/dwarf/types"
	"github.com/ptracer/ptracer/symbols/source"
)

// File finds scopes in one file. It may be used by several goroutines.
type File struct {
	file  *symbols.File
	isa   arch.ISA
	src   *source.Source
	data  *dwarf.Data
	types *types.Reader
}

// Of reads scopes of a file. The error wraps symbols.ErrNoSource if it has no debug information.
func Of(f *symbols.File, isa arch.ISA) (*File, error) {
	src, err := f.Source()
	if err != nil {
		return nil, err
	}
	return &File{f, isa, src, src.Data(), types.NewReader()}, nil
}

// Point says at which point of a function an address is.
type Point uint8

// The points of a function.
const (
	Inside  Point = iota
	AtEntry       // all is as the call has left it
	AtExit        // the result is there, and its variables are gone
)

// Scope is what names mean at an address.
type Scope struct {
	of    *File
	at    arch.Addr // in the file
	point Point
	calls arch.Convention
	// chain is what the address lies in, from the outside in: the function, its blocks, and inlined
	// calls.
	chain []dwarf.Entry
	unit  *dwarf.Unit
}

// ErrUnknown is wrapped by errors that say a name means nothing in a scope.
var ErrUnknown = errors.New("not known")

// At returns the scope at an address. calls is the calling convention of the function there, which
// has arguments and results at its entry and exits.
func (f *File) At(at arch.Addr, point Point, calls arch.Convention) (*Scope, error) {
	s := &Scope{of: f, at: at, point: point, calls: calls}
	var err error
	if s.chain, err = f.data.Scopes(uint64(at)); err != nil {
		return nil, fmt.Errorf("%s: %w", f.file.Name(), err)
	}
	if point != Inside && len(s.chain) > 0 {
		s.chain = s.chain[:1]
	}
	if len(s.chain) > 0 {
		s.unit = s.chain[0].Unit()
	}
	return s, nil
}

// Function is the name of the innermost function of the scope, "" if nothing is known of one.
func (s *Scope) Function() string {
	fn, ok := s.function()
	if !ok {
		return ""
	}
	return fn.QualifiedName()
}

// function is the entry of the innermost function: it may be an inlined call.
func (s *Scope) function() (dwarf.Entry, bool) {
	i := s.innermost()
	if i < 0 {
		return dwarf.Entry{}, false
	}
	return s.chain[i], true
}

// innermost is the index of the innermost function in the chain, -1 if there is none.
func (s *Scope) innermost() int {
	for i := len(s.chain) - 1; i >= 0; i-- {
		if t := s.chain[i].Tag(); t == sd.TagSubprogram || t == sd.TagInlinedSubroutine {
			return i
		}
	}
	return -1
}

// Variable is what a name of the source means.
type Variable struct {
	Name string
	Type *types.Type
	// Pieces are where the value is; none if Why says that it is not to be had here.
	Pieces []op.Piece
	Why    string
	Param  bool // an argument of the function, or its result
	// Doubt is why the value may be another one: of a result that LLVM may have taken away, since no caller
	// uses it. "" for none.
	Doubt string
}

// Params returns the arguments of the innermost function, as they are declared.
func (s *Scope) Params() (list []*Variable, err error) {
	fn, ok := s.function()
	if !ok {
		return nil, nil
	}
	var inner error
	err = fn.Children(func(e dwarf.Entry) bool {
		if e.Tag() != sd.TagFormalParameter || isResult(e) {
			return true
		}
		var v *Variable
		v, inner = s.variable(e)
		list = append(list, v)
		return inner == nil
	})
	if inner != nil {
		err = inner
	}
	return list, err
}

// isResult reports whether an argument is one of a Go function's results, which Go tells as arguments.
func isResult(e dwarf.Entry) bool {
	of, ok := e.With(attrVariableParameter)
	return ok && of.Flag(attrVariableParameter)
}

const attrVariableParameter sd.Attr = 0x4b // DW_AT_variable_parameter

// Lookup finds what a name means: a variable of the function, from the innermost block out, one of the
// unit's, or one of another unit's. The error wraps ErrUnknown if there is none.
func (s *Scope) Lookup(name string) (*Variable, error) {
	v, err := s.Local(name)
	if v != nil || err != nil {
		return v, err
	}
	v, err = s.Global(name)
	if pkg := s.goPackage(); errors.Is(err, ErrUnknown) && pkg != "" {
		if v, err := s.Global(pkg + "." + name); err == nil {
			return v, nil
		}
	}
	return v, err
}

// goPackage is the package of a Go function, as the names of its variables begin; "" if it is none.
func (s *Scope) goPackage() string {
	if len(s.chain) == 0 || !s.isGo() {
		return ""
	}
	name := s.Function()
	slash := strings.LastIndexByte(name, '/')
	pkg, _, ok := strings.Cut(name[slash+1:], ".")
	if !ok {
		return ""
	}
	return name[:slash+1] + pkg
}

// Local finds a variable or an argument of the innermost function; nil if it has none of the name.
func (s *Scope) Local(name string) (*Variable, error) {
	from := s.innermost()
	if from < 0 {
		return nil, nil
	}
	for i := len(s.chain) - 1; i >= from; i-- {
		e, ok, err := named(s.chain[i], name)
		if err != nil {
			return nil, err
		}
		if ok {
			return s.variable(e)
		}
	}
	return s.removed(s.chain[from], name)
}

// removed finds a variable that the source has in a function, and of which the compiler has left
// nothing in this copy of it.
func (s *Scope) removed(fn dwarf.Entry, name string) (*Variable, error) {
	decl := fn.Declaration()
	if decl.Offset() == fn.Offset() && decl.Unit() == fn.Unit() {
		return nil, nil
	}
	e, ok, err := named(decl, name)
	if !ok || err != nil {
		return nil, err
	}
	v, err := s.variable(e)
	if err != nil {
		return nil, err
	}
	if len(v.Pieces) > 0 { // it is a constant
		return v, nil
	}
	v.Why = optimisedOut
	return v, nil
}

const optimisedOut = "optimised out"

// named finds a variable or an argument of a name among an entry's children: the last one, which hides
// those before it.
func named(in dwarf.Entry, name string) (found dwarf.Entry, ok bool, err error) {
	err = in.Children(func(e dwarf.Entry) bool {
		switch e.Tag() {
		case sd.TagVariable, sd.TagFormalParameter:
			if have := e.Name(); have == name || have == "&"+name {
				found, ok = e, true
			}
		}
		return true
	})
	return found, ok, err
}

// Global finds a variable that belongs to no function. One of the same unit goes first.
func (s *Scope) Global(name string) (*Variable, error) {
	names, err := s.of.data.Names()
	if err != nil {
		return nil, err
	}
	var list []dwarf.Entry
	take := func(e dwarf.Entry) bool {
		if e.Tag() == sd.TagVariable && source.IsOf(e.QualifiedName(), name) {
			list = append(list, e)
		}
		return len(list) < maxGlobals
	}
	for _, one := range source.Spellings(name) {
		if err := names.Lookup(one, take); err != nil {
			return nil, err
		}
	}
	return s.chosen(name, list)
}

// chosen is the variable that a name means: that of the scope's unit, or one that all units see, or the only
// one that has a value.
func (s *Scope) chosen(name string, list []dwarf.Entry) (*Variable, error) {
	var all, shared []*Variable
	var without *Variable
	for _, e := range list {
		v, err := s.variable(e)
		if err != nil {
			return nil, err
		}
		switch {
		case len(v.Pieces) == 0:
			without = v
			continue
		case e.Unit() == s.unit:
			return v, nil
		case e.Declaration().Flag(sd.AttrExternal) || e.Flag(sd.AttrExternal):
			shared = append(shared, v)
		}
		all = append(all, v)
	}
	switch {
	case len(shared) == 1:
		return shared[0], nil
	case len(all) == 1:
		return all[0], nil
	case len(all) > 1:
		return nil, fmt.Errorf("%q is %w: there are %d of that name, in other files than the function's", name, ErrUnknown, len(all))
	case without != nil:
		return without, nil
	}
	return nil, fmt.Errorf("%q is %w%s", name, ErrUnknown, s.around())
}

// maxGlobals is how many variables of one name are looked at.
const maxGlobals = 1000

// around tells, for an error, which names there are.
func (s *Scope) around() string {
	var names []string
	if from := s.innermost(); from >= 0 {
		for _, in := range s.chain[from:] {
			_ = in.Children(func(e dwarf.Entry) bool {
				if e.Tag() == sd.TagVariable || e.Tag() == sd.TagFormalParameter {
					if name := e.Name(); name != "" && !strings.HasPrefix(name, "~") {
						names = append(names, strings.TrimPrefix(name, "&"))
					}
				}
				return len(names) < maxNames
			})
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" in %s: it has %s", s.Function(), strings.Join(names, ", "))
}

// maxNames is how many names an error tells.
const maxNames = 30

// variable reads a variable's entry.
func (s *Scope) variable(e dwarf.Entry) (*Variable, error) {
	t, err := s.of.types.Of(e)
	if err != nil {
		return nil, err
	}
	v := &Variable{Name: e.Name(), Type: t, Param: e.Tag() == sd.TagFormalParameter}
	if v.Param && s.point == AtEntry && !isResult(e) {
		err = s.argument(v, e)
	} else {
		err = s.where(v, e)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Name, err)
	}
	return v, nil
}

// TypeNamed finds a type by its name, "" for none; struct, union, enum and class may stand in front.
func (s *Scope) TypeNamed(name string) (*types.Type, error) {
	names, err := s.of.data.Names()
	if err != nil {
		return nil, err
	}
	want := map[string]sd.Tag{"struct": sd.TagStructType, "union": sd.TagUnionType, "enum": sd.TagEnumerationType, "class": sd.TagClassType}
	word, rest, _ := strings.Cut(name, " ")
	tag, tagged := want[word]
	if tagged {
		name = rest
	}
	var found dwarf.Entry
	for _, one := range source.Spellings(name) {
		err := names.Lookup(one, func(e dwarf.Entry) bool {
			switch t := e.Tag(); t {
			case sd.TagStructType, sd.TagClassType, sd.TagUnionType, sd.TagEnumerationType, sd.TagTypedef, sd.TagBaseType:
				if source.IsOf(e.QualifiedName(), name) && !e.Flag(sd.AttrDeclaration) && (!tagged || t == tag) && (found.Tag() == 0 || e.Unit() == s.unit) {
					found = e
				}
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	if found.Tag() == 0 {
		return nil, fmt.Errorf("no type %q is %w", name, ErrUnknown)
	}
	return s.of.types.Type(found)
}
