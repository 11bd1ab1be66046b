package handler

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/failure"
)

// Registry holds handlers by name. New makes one with the built-in handlers.
type Registry struct {
	mu    sync.RWMutex
	names map[string]*version
}

// version is a handler that a name stands for at some time. It does not change.
type version struct {
	name, doc string
	number    int // 1 for the first handler under this name, then 2, ...
	access    Access
	kind      *builtin.Kind // of a built-in handler
	fixed     *build.Handler
	needs     program.Rights
	verified  *Verified    // of a user's handler
	uses      atomic.Int64 // instances
}

// New makes a registry with the built-in handlers, owned by root: all users may run them, only root
// may replace them.
func New() *Registry {
	r := &Registry{names: map[string]*version{}}
	for i := range builtin.Kinds {
		k := &builtin.Kinds[i]
		r.names[k.Name] = &version{
			name: k.Name, doc: k.Doc, number: 1, kind: k, needs: k.Needs,
			access: Access{Mode: 0o555, Rights: program.ReadMemory | program.WriteMemory | program.Override},
		}
	}
	return r
}

// Register adds a handler under a name of 1 to 64 letters, digits, dots, dashes and underscores.
// The verifier must accept the handler with the rights of a.
func (r *Registry) Register(name string, h *build.Handler, a Access) error {
	v, err := newVersion(name, h, a)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.names[name] != nil {
			err = ErrExists
		}
	}
	if err != nil {
		return &Error{"register", name, err}
	}
	r.names[name] = v
	return nil
}

// Replace makes a name stand for another handler. Owner, mode and granted rights stay. Open
// instances do not change.
func (r *Registry) Replace(name string, h *build.Handler, by Peer) error {
	old, err := r.find(name)
	if err == nil {
		err = old.access.may(by, MayReplace)
	}
	var v *version
	if err == nil {
		v, err = newVersion(name, h, old.access)
	}
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch now := r.names[name]; {
		case now == nil:
			err = ErrNotFound
		case now != old: // the check used the mode of another version
			err = fmt.Errorf("%w: it was replaced meanwhile", ErrExists)
		}
	}
	if err != nil {
		return &Error{"replace", name, err}
	}
	v.number = old.number + 1
	r.names[name] = v
	return nil
}

// Remove removes a name. Open instances continue.
func (r *Registry) Remove(name string, by Peer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.names[name]
	err := ErrNotFound
	if v != nil {
		err = v.access.may(by, MayReplace)
	}
	if err != nil {
		return &Error{"remove", name, err}
	}
	delete(r.names, name)
	return nil
}

// Info describes a handler.
type Info struct {
	Name    string
	Doc     string // of a built-in handler
	Builtin bool
	Version int // 1, plus one for each replacement
	Access
	Needs     program.Rights // expressions of a built-in handler may need more
	Instances int            // that are open, of this version
	Handler   *build.Handler // nil: a built-in handler is made on request
}

// Lookup describes the handler with this name.
func (r *Registry) Lookup(name string) (Info, error) {
	v, err := r.find(name)
	if err != nil {
		return Info{}, &Error{"lookup", name, err}
	}
	return v.info(), nil
}

// Fetch is Lookup for a peer that wants to run the handler; the mode must permit it.
func (r *Registry) Fetch(name string, by Peer) (Info, error) {
	v, err := r.find(name)
	if err == nil {
		err = v.access.may(by, MayRun)
	}
	if err != nil {
		return Info{}, &Error{"lookup", name, err}
	}
	return v.info(), nil
}

// Adopt copies a handler from another registry: it verifies the handler again, and replaces what
// had the name here. It refuses the name of a built-in handler.
func (r *Registry) Adopt(i Info) error {
	v, err := newVersion(i.Name, i.Handler, i.Access)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if old := r.names[i.Name]; old != nil && old.kind != nil {
			err = ErrExists
		}
	}
	if err != nil {
		return &Error{"adopt", i.Name, err}
	}
	v.number = i.Version
	r.names[i.Name] = v
	return nil
}

// List describes all handlers, by name.
func (r *Registry) List() []Info {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]Info, 0, len(r.names))
	for _, v := range r.names {
		list = append(list, v.info())
	}
	slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (r *Registry) find(name string) (*version, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if v := r.names[name]; v != nil {
		return v, nil
	}
	return nil, ErrNotFound
}

func (v *version) info() Info {
	return Info{
		Name: v.name, Doc: v.doc, Builtin: v.kind != nil, Version: v.number, Access: v.access,
		Needs: v.needs, Instances: int(v.uses.Load()), Handler: v.fixed,
	}
}

// newVersion verifies a user's handler.
func newVersion(name string, h *build.Handler, a Access) (*version, error) {
	if !goodName(name) {
		return nil, fmt.Errorf("%w: 1 to 64 letters, digits, dots, dashes and underscores", ErrName)
	}
	if a.Mode == 0 {
		a.Mode = DefaultMode
	}
	if a.Mode&^0o777 != 0 {
		return nil, failure.Unsupportedf("mode %#o", uint16(a.Mode))
	}
	checked, err := check(h, a.Rights)
	if err != nil {
		return nil, err
	}
	return &version{name: name, number: 1, access: a, fixed: h, needs: checked.Needs, verified: checked}, nil
}

func goodName(s string) bool {
	for _, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 64 && s[0] != '-' && s[0] != '.'
}

// Verified is a handler that the verifier has accepted.
type Verified struct {
	Handler *build.Handler
	Needs   program.Rights
	// Entry and Exit are the results for its programs; nil if it has none there.
	Entry, Exit *verify.Result
}

// At returns the verified program at a point, nil if there is none.
func (v *Verified) At(p build.Point) *verify.Result {
	if p == build.Exit {
		return v.Exit
	}
	return v.Entry
}

// check verifies a handler's programs, and checks that they have the same maps.
func check(h *build.Handler, granted program.Rights) (*Verified, error) {
	if h == nil || h.Entry == nil && h.Exit == nil {
		return nil, errors.New("it has no program")
	}
	if h.Entry != nil && h.Exit != nil && !slices.EqualFunc(h.Entry.Maps, h.Exit.Maps, sameMap) {
		return nil, errors.New("its programs have different maps")
	}
	v := &Verified{Handler: h}
	for _, at := range []build.Point{build.Entry, build.Exit} {
		p := h.At(at)
		if p == nil {
			continue
		}
		res, err := verify.Check(p, verify.Options{Context: h.Context, Rights: granted})
		if err != nil {
			return nil, err
		}
		v.Needs |= res.Needs
		if at == build.Exit {
			v.Exit = res
		} else {
			v.Entry = res
		}
	}
	return v, nil
}

// sameMap reports whether two descriptions describe the same map.
func sameMap(a, b program.Map) bool {
	return a.Name == b.Name && a.Type == b.Type && a.KeySize == b.KeySize && a.ValueSize == b.ValueSize &&
		a.MaxEntries == b.MaxEntries && a.Flags == b.Flags && a.ReadOnly == b.ReadOnly && len(a.Contents) == len(b.Contents)
}
