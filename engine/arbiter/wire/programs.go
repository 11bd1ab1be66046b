package wire

import (
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// FromHandler converts a handler's programs into messages.
func FromHandler(h *build.Handler) (entry, exit *Program) {
	return fromProgram(h.Entry), fromProgram(h.Exit)
}

func fromProgram(p *program.Program) *Program {
	if p == nil {
		return nil
	}
	m := &Program{Name: text(p.Name), Instructions: p.Bytes(), License: text(p.License)}
	for i := range p.Maps {
		x := &p.Maps[i]
		y := &Map{Name: text(x.Name), Type: uint32(x.Type), KeySize: x.KeySize, ValueSize: x.ValueSize, MaxEntries: x.MaxEntries, Flags: x.Flags, ReadOnly: x.ReadOnly}
		for _, kv := range x.Contents {
			y.Contents = append(y.Contents, &Content{Key: kv.Key, Value: kv.Value})
		}
		m.Maps = append(m.Maps, y)
	}
	return m
}

// ToHandler converts programs into a handler for an instruction set. It checks that they are valid;
// the verifier decides whether they are safe.
func ToHandler(entry, exit *Program, isa string) (*build.Handler, error) {
	ctx, err := program.ContextOf(isa)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	h := &build.Handler{Context: ctx}
	if h.Entry, err = toProgram(entry); err != nil {
		return nil, err
	}
	if h.Exit, err = toProgram(exit); err != nil {
		return nil, err
	}
	p := h.At(h.First())
	if p == nil {
		return nil, fmt.Errorf("%w: a handler without programs", ErrMessage)
	}
	h.Name = p.Name
	return h, nil
}

func toProgram(m *Program) (*program.Program, error) {
	if m == nil {
		return nil, nil
	}
	var maps []program.Map
	for _, x := range m.Maps {
		y := program.Map{Name: x.Name, Type: program.MapType(x.Type), KeySize: x.KeySize, ValueSize: x.ValueSize, MaxEntries: x.MaxEntries, Flags: x.Flags, ReadOnly: x.ReadOnly}
		for _, kv := range x.Contents {
			y.Contents = append(y.Contents, program.KV{Key: kv.Key, Value: kv.Value})
		}
		maps = append(maps, y)
	}
	p, err := program.FromBytes(m.Name, m.Instructions, maps)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	p.License = m.License
	return p, nil
}
