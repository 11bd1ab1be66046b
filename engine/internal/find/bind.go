package find

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/expr/bind"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/filter"
	"github.com/ptracer/ptracer/engine/internal/probe"
	"github.com/ptracer/ptracer/engine/value"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/location"
	"github.com/ptracer/ptracer/symbols/scope"
)

// scopes are the scopes of files whose debug information has been asked for. They are used outside the
// session's thread, too.
type scopes struct {
	mu    sync.Mutex
	files map[*symbols.File]*scope.File
}

// of returns the scopes of a file.
func (s *scopes) of(f *symbols.File, isa arch.ISA) (*scope.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.files[f]; have != nil {
		return have, nil
	}
	of, err := scope.Of(f, isa)
	if err != nil {
		return nil, err
	}
	if s.files == nil {
		s.files = map[*symbols.File]*scope.File{}
	}
	s.files[f] = of
	return of, nil
}

// asked is an expression of a handler.
type asked struct {
	text  string
	late  bool // it has a value at exits only
	field bool // its value is shown
}

// askedOf returns the expressions of a probe's handler, the condition last; nil if none has names.
func askedOf(h *handler.Instance, p builtin.Params) (list []asked, err error) {
	if !h.Handler.Open {
		return nil, nil
	}
	texts := p.Exprs
	if p.Filter != "" {
		texts = append(texts[:len(texts):len(texts)], p.Filter)
	}
	for i, text := range texts {
		e, err := filter.Parse(text, filter.Options{Open: true, Strings: true})
		if err != nil {
			return nil, err
		}
		list = append(list, asked{text, e.UsesRet(), i < len(p.Exprs)})
	}
	return list, nil
}

// Bind finds out what the expressions of a probe's handler mean at a target. It may be called outside
// the session's thread before the probe has been registered.
func (f *Finder) Bind(p *probe.Probe, m *symbols.Module, t *location.Target, at arch.Addr, calls arch.Convention) (*builtin.Bound, error) {
	if p.Handler == nil || !p.Handler.In.Handler.Open {
		return nil, nil
	}
	params := p.Handler.Params()
	list, err := askedOf(p.Handler.In, params)
	if err != nil {
		return nil, err
	}
	point := scope.Inside
	switch {
	case t.Exit != nil:
		point = scope.AtExit
	case t.Entry:
		point = scope.AtEntry
	}
	here := binding{f: f, p: p, file: m.File, list: list, params: params, calls: calls}
	all, err := here.at(at, point)
	if err != nil {
		return nil, err
	}
	if point == scope.AtExit { // what is asked of the entry means what it means there
		entry := t.Function.Addr
		if m.File.IsGo() {
			entry = m.File.Body(f.isa, t.Function)
		}
		early, err := here.at(entry, scope.AtEntry)
		if err != nil {
			return nil, err
		}
		all = merged(list, all, early)
	}
	return boundOf(list, all)
}

// boundOf puts together what expressions mean. Fields without a value are shown as such beside others
// that have one.
func boundOf(list []asked, all *probe.Meaning) (*builtin.Bound, error) {
	b := &builtin.Bound{}
	some, first := false, error(nil)
	for i, a := range list {
		fields, err := all.Fields[i], all.Errs[i]
		if missing, ok := bind.Missing(err); ok && a.field {
			missing.Name, first = a.text, cmp.Or(first, err)
			fields = []value.Field{missing}
		} else if err != nil {
			return nil, err
		}
		some = some || len(fields) == 0 || slices.ContainsFunc(fields, func(f value.Field) bool { return len(f.Parts) > 0 })
		if a.field {
			b.Exprs = append(b.Exprs, fields)
		} else {
			b.Filter = fields[0].Parts[0].Expr
		}
	}
	if !some || !all.Shown {
		return b, first
	}
	return b, nil
}

// BindAll finds out what the expressions of a probe's handler mean at targets, and makes the handler's
// programs for these: each takes up to a tenth of a second to verify, which no hit is to wait for.
func (f *Finder) BindAll(p *probe.Probe, m *symbols.Module, list []location.Target) {
	if p.Handler == nil || !p.Handler.In.Handler.Open {
		return
	}
	for i := range list {
		calls := f.callsAt(p, m, &list[i])
		if bound, err := f.Bind(p, m, &list[i], list[i].Addr, calls); err == nil {
			_, _ = p.Handler.In.Under(handler.Place{Calls: calls, Bound: bound}) // the error is told where it is planted
		}
	}
}

// merged takes what is asked of the exit from one list, and all else from the other.
func merged(list []asked, late, early *probe.Meaning) *probe.Meaning {
	all := &probe.Meaning{Shown: late.Shown}
	for i, a := range list {
		from := early
		if a.late {
			from = late
		}
		all.Fields, all.Errs = append(all.Fields, from.Fields[i]), append(all.Errs, from.Errs[i])
	}
	return all
}

// binding finds out what expressions mean at places of a file.
type binding struct {
	f      *Finder
	p      *probe.Probe
	file   *symbols.File
	list   []asked
	params builtin.Params
	calls  arch.Convention
}

// at returns what the expressions mean at an address.
func (b *binding) at(addr arch.Addr, point scope.Point) (*probe.Meaning, error) {
	key := probe.MeaningAt{File: b.file, Addr: addr, Point: uint8(point)}
	if have := b.p.Meanings[key]; have != nil {
		return have, nil
	}
	of, err := b.f.scopes.of(b.file, b.f.isa)
	if err != nil {
		return b.without(err)
	}
	s, err := of.At(addr, point, b.calls)
	if err != nil {
		return nil, err
	}
	all := &probe.Meaning{Shown: b.p.Handler.In.Shows()}
	for _, a := range b.list {
		fields, err := b.one(s, a)
		all.Fields, all.Errs = append(all.Fields, fields), append(all.Errs, err)
	}
	if b.p.Meanings == nil {
		b.p.Meanings = map[probe.MeaningAt]*probe.Meaning{}
	}
	b.p.Meanings[key] = all
	return all, nil
}

// without is what the expressions mean where there is no debug information: those without names what they
// always do.
func (b *binding) without(err error) (*probe.Meaning, error) {
	all := &probe.Meaning{}
	for _, a := range b.list {
		tree, err2 := expr.Parse(expr.Source{Text: a.text})
		switch {
		case err2 != nil:
			return nil, err2
		case bind.Asks(tree):
			return nil, fmt.Errorf("what %s means: %w", a.text, err)
		}
		all.Fields = append(all.Fields, []value.Field{b.raw(a)})
		all.Errs = append(all.Errs, nil)
	}
	return all, nil
}

// raw is an expression as package filter has it.
func (b *binding) raw(a asked) value.Field {
	size := int64(8)
	if e, err := filter.Parse(a.text, filter.Options{Strings: true}); err == nil && e.IsString() {
		size = int64(cmp.Or(b.params.Strings, 64)) - 1
	}
	return value.Field{Name: a.text, Parts: []value.Part{{Expr: a.text, Size: size}}}
}

// one binds one expression.
func (b *binding) one(s *scope.Scope, a asked) ([]value.Field, error) {
	if a.field && a.text == builtin.AllArguments && b.p.Handler.In.Shows() {
		return b.arguments(s)
	}
	o := bind.Options{Text: a.text, What: "expression", MaxText: b.params.Strings}
	if !a.field || !b.p.Handler.In.Shows() {
		if !a.field {
			o.What = "filter"
		}
		text, err := bind.Number(s, o)
		return []value.Field{{Name: a.text, Parts: []value.Part{{Expr: text, Size: 8}}}}, err
	}
	field, err := bind.Value(s, o)
	field.Name = a.text
	return []value.Field{field}, err
}

// arguments binds all arguments of the function.
func (b *binding) arguments(s *scope.Scope) (list []value.Field, err error) {
	params, err := s.Params()
	if err != nil {
		return nil, err
	}
	for _, v := range params {
		field, err := bind.Of(s, v, bind.Options{What: "expression", MaxText: b.params.Strings})
		if missing, ok := bind.Missing(err); ok {
			field = missing
		} else if err != nil {
			return nil, err
		}
		field.Name = cmp.Or(v.Name, "_")
		list = append(list, field)
	}
	return list, nil
}
