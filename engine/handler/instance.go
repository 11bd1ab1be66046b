package handler

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/failure"
)

// Options say how to open a handler.
type Options struct {
	By      Peer
	Context program.Context // of the process
	// Params of a built-in handler; for other handlers only the guards and names are used.
	Params    builtin.Params
	Where     Where
	Executors Executors
	// Share is an instance with maps that the handler uses, in the same executor: the programs of
	// one object file become several handlers with the same maps.
	Share *Instance
}

// Instance is an open handler. Its description does not change.
type Instance struct {
	*Verified
	Name    string
	Version int
	Where   Where  // where it runs, never Auto
	Why     string // why it runs there
	Maps    Maps
	opened  Peer
	of      *version
	shared  *Instance // the instance that owns the maps, or nil
	made    Options

	mu     sync.Mutex
	under  map[placeKey]*Instance // the instances that Under has made
	shapes []*Instance            // those with records of their own form, by their shape's number less 1

	// refs counts the holder, until Close, and the hits inside the instance.
	refs   atomic.Int64
	closed atomic.Bool
}

// Open makes an instance of the handler with this name.
func (r *Registry) Open(name string, o Options) (*Instance, error) {
	in, err := r.open(name, o)
	if err != nil {
		return nil, &Error{"open", name, err}
	}
	return in, nil
}

func (r *Registry) open(name string, o Options) (*Instance, error) {
	v, err := r.find(name)
	if err != nil {
		return nil, err
	}
	if err := v.access.may(o.By, MayRun); err != nil {
		return nil, err
	}
	checked, err := v.prepare(o, builtin.Kind.Make)
	if err != nil {
		return nil, err
	}
	return start(v, checked, o)
}

// OpenValue makes an instance of a handler that has no name. The handler gets the peer's rights.
func OpenValue(h *build.Handler, o Options) (*Instance, error) {
	in, err := openValue(h, o)
	if err != nil {
		name := "without a name"
		if h != nil {
			name = h.Name
		}
		return nil, &Error{"open", name, err}
	}
	return in, nil
}

func openValue(h *build.Handler, o Options) (*Instance, error) {
	v := &version{access: Access{UID: o.By.UID, Mode: 0o700, Rights: o.By.Rights}, fixed: h, number: 1}
	if h != nil {
		v.name = h.Name
	}
	var err error
	if v.verified, err = check(h, o.By.Rights); err != nil {
		return nil, err
	}
	checked, err := v.prepare(o, builtin.Kind.Make)
	if err != nil {
		return nil, err
	}
	return start(v, checked, o)
}

// prepare makes the handler for o, with how for a built-in kind, and verifies the new parts. A
// user's program stays unchanged.
func (v *version) prepare(o Options, how func(builtin.Kind, program.Context, builtin.Params) (*build.Handler, error)) (*Verified, error) {
	h := v.fixed
	switch {
	case v.kind != nil:
		var err error
		if h, err = how(*v.kind, o.Context, o.Params); err != nil {
			return nil, err
		}
	case h.Context.Arch != o.Context.Arch:
		return nil, failure.Unsupportedf("it is for %s, the process runs %s", h.Context.Arch, o.Context.Arch)
	case o.Params.Guards == (builtin.Guards{}):
		return v.verified, nil
	default:
		with := *h
		with.Context = o.Context
		var err error
		if h, err = o.Params.Before(&with); err != nil {
			return nil, err
		}
	}
	return check(h, v.access.Rights)
}

// start opens a verified handler in an executor.
func start(v *version, h *Verified, o Options) (*Instance, error) {
	if err := o.By.grants(h.Needs); err != nil {
		return nil, err
	}
	in := &Instance{Verified: h, Name: v.name, Version: v.number, opened: o.By, of: v, shared: o.Share, made: o}
	var err error
	if o.Share != nil {
		in.Where, in.Why = o.Share.Where, "shares maps with "+o.Share.Name
		in.Maps, err = o.Share.share(h)
	} else {
		in.Maps, in.Where, in.Why, err = o.Executors.open(o.Where, h)
	}
	if err != nil {
		return nil, err
	}
	in.refs.Store(1)
	v.uses.Add(1)
	return in, nil
}

// Acquire holds the instance for a hit. It returns false if the instance is closed: the hit is not
// for it any more. It does not allocate.
func (in *Instance) Acquire() bool {
	if in.closed.Load() {
		return false
	}
	for n := in.refs.Load(); n > 0; n = in.refs.Load() {
		if in.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// Release ends what Acquire has begun. The last Release after Close closes the maps; no caller is
// left that an error could be returned to.
func (in *Instance) Release() { _ = in.release() }

func (in *Instance) release() error {
	if in.refs.Add(-1) > 0 {
		return nil
	}
	in.of.uses.Add(-1)
	err := in.Maps.Close()
	if in.shared != nil {
		err = errors.Join(err, in.shared.release())
	}
	return err
}

// sharer is implemented by Maps that other handlers can use, too.
type sharer interface {
	share(h *Verified) (Maps, error)
}

// share gives a handler the instance's maps, and keeps the instance open for it.
func (in *Instance) share(h *Verified) (Maps, error) {
	if !slices.EqualFunc(h.Handler.Maps(), in.Handler.Maps(), sameMap) {
		return nil, failure.Unsupportedf("other maps than those of %s", in.Name)
	}
	s, ok := in.Maps.(sharer)
	if !ok || !in.Acquire() {
		return nil, failure.Unsupportedf("the maps of %s can't be shared", in.Name)
	}
	maps, err := s.share(h)
	if err != nil {
		in.Release()
	}
	return maps, err
}

// Close ends the instance: it accepts no further hit, and its maps are closed when the last hit has
// ended. If that happens at once, Close returns the error. A second Close returns an error.
func (in *Instance) Close() error {
	if !in.closed.CompareAndSwap(false, true) {
		return &Error{"close", in.Name, ErrClosed}
	}
	in.mu.Lock()
	under := in.under
	in.under = nil
	in.mu.Unlock()
	var errs []error
	for _, other := range under {
		if other != in {
			errs = append(errs, other.Close())
		}
	}
	return errors.Join(append(errs, in.release())...)
}

// Place is what the programs of a handler depend on at a place.
type Place struct {
	Calls arch.Convention // that of the function there
	Bound *builtin.Bound  // what its expressions mean there; nil: they have no names
}

// placeKey tells places apart at which the programs differ.
type placeKey struct {
	calls arch.Convention
	bound string
}

// ErrUnbound says that a handler has expressions with names, which mean nothing where it is to run.
var ErrUnbound = errors.New("its expressions have names, and what they mean here is not known")

// Under returns the handler for a place: the instance itself if its programs are the same there, else
// an instance that shares its maps. It is closed with the instance. Errors wrap build.ErrNotKnown if
// the programs ask for an argument or result that the calling convention does not define.
func (in *Instance) Under(p Place) (*Instance, error) {
	key := placeKey{p.Calls, p.Bound.Key()}
	in.mu.Lock()
	defer in.mu.Unlock()
	if other := in.under[key]; other != nil {
		return other, nil
	}
	if in.closed.Load() {
		return nil, &Error{"open", in.Name, ErrClosed}
	}
	other, err := in.forPlace(p)
	if err != nil {
		return nil, &Error{"open", in.Name, err}
	}
	if in.under == nil {
		in.under = map[placeKey]*Instance{}
	}
	in.under[key] = other
	return other, nil
}

// forPlace makes the instance for a place. The caller holds mu.
func (in *Instance) forPlace(p Place) (*Instance, error) {
	o := in.made
	o.Context.Calls, o.Share = p.Calls, in
	if in.Handler.Open {
		if p.Bound == nil {
			return nil, ErrUnbound
		}
		bound := *p.Bound
		bound.Shape = uint32(len(in.shapes) + 1)
		o.Params.Bound = &bound
	}
	h, err := in.of.prepare(o, builtin.Kind.MakeFor)
	if err != nil {
		return nil, err
	}
	if o.Params.Bound != nil {
		other, err := start(in.of, h, o)
		if err == nil {
			in.shapes = append(in.shapes, other)
		}
		return other, err
	}
	if sameCode(h.Handler.Entry, in.Handler.Entry) && sameCode(h.Handler.Exit, in.Handler.Exit) {
		return in, nil
	}
	return start(in.of, h, o)
}

// sameCode reports whether two programs have the same instructions.
func sameCode(a, b *program.Program) bool {
	return a == b || a != nil && b != nil && slices.Equal(a.Insns, b.Insns)
}

// Shows reports whether the values of the handler's expressions are shown, so that it matters what they
// are.
func (in *Instance) Shows() bool { return in.of.kind != nil && in.of.kind.Name == "record" }

// Decode returns what a record of the handler's ring means. Errors wrap builtin.ErrRecord.
func (in *Instance) Decode(rec []byte) (build.Result, error) {
	of := in
	if in.Handler.Open {
		in.mu.Lock()
		shape := int(builtin.ShapeOf(rec))
		if shape > 0 && shape <= len(in.shapes) {
			of = in.shapes[shape-1]
		}
		in.mu.Unlock()
	}
	if of.Handler.Decode == nil {
		return nil, fmt.Errorf("%w: those of %s are not known", builtin.ErrRecord, in.Name)
	}
	return of.Handler.Decode(rec)
}

// Shapes are the parameters of the instances for places with records of a form of their own, by the
// number of their shapes.
func (in *Instance) Shapes() (list []builtin.Params) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, of := range in.shapes {
		list = append(list, of.made.Params)
	}
	return list
}

// Result returns the handler's result so far, for a peer that may read it: the peer that opened it,
// and those that the mode admits. It is nil without an error if only the maps' contents are known.
func (in *Instance) Result(by Peer) (build.Result, error) {
	if err := in.MayRead(by); err != nil {
		return nil, &Error{"read", in.Name, err}
	}
	if !in.Acquire() {
		return nil, &Error{"read", in.Name, ErrClosed}
	}
	defer in.Release()
	if in.Handler.Read == nil {
		return nil, nil
	}
	return in.Handler.Read(in.Maps)
}

// MayRead returns an error unless a peer may read the instance's maps.
func (in *Instance) MayRead(by Peer) error {
	if by.UID == in.opened.UID {
		return nil
	}
	return in.of.access.may(by, MayRead)
}

// Unread is how many hits the handler's condition could not be decided for, since memory that it
// reads could not be read.
func (in *Instance) Unread() uint64 {
	if !in.Acquire() {
		return 0
	}
	defer in.Release()
	return builtin.ReadUnread(in.Maps, in.Handler.Guards)
}

// Limits returns the state of the limits in front of the handler, in their order.
func (in *Instance) Limits(by Peer) (list []builtin.LimitState, err error) {
	if err := in.MayRead(by); err != nil {
		return nil, &Error{"read", in.Name, err}
	}
	if !in.Acquire() {
		return nil, &Error{"read", in.Name, ErrClosed}
	}
	defer in.Release()
	for _, g := range in.Handler.Guards {
		if g.Kind == "limit" {
			list = append(list, builtin.ReadLimit(in.Maps, g))
		}
	}
	return list, nil
}
