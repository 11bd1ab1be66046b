package builtin

import (
	"errors"
	"testing"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/value"
)

// TestBound: what takes the place of names may come from another process. What is wrong with it is an
// error, and what is right makes a handler with the template's maps.
func TestBound(t *testing.T) {
	ctx := context(t, "amd64")
	kind := func(name string) Kind {
		for _, k := range Kinds {
			if k.Name == name {
				return k
			}
		}
		t.Fatal(name)
		return Kind{}
	}
	number := &value.Type{Kind: value.Int, Size: 4}
	field := func(of *value.Type, parts ...value.Part) *Bound {
		return &Bound{Exprs: [][]value.Field{{{Name: "n", Parts: parts, Type: of}}}}
	}
	record := Params{Exprs: []string{"n"}, Open: true}
	template, err := kind("record").Make(ctx, record)
	if err != nil || !template.Open {
		t.Fatalf("the template: %+v, %v", template, err)
	}
	for _, c := range []struct {
		name  string
		bound *Bound
		ok    bool
	}{
		{"a number", field(number, value.Part{Expr: "int32($rdi)", Size: 4}), true},
		{"two parts", field(&value.Type{Kind: value.Struct, Size: 16}, value.Part{Expr: "$rdi", Size: 8}, value.Part{Size: 8, Gone: true}), true},
		{"a string", field(&value.Type{Kind: value.String}, value.Part{Expr: "str($rdi)", Size: 64}), true},
		{"nothing", field(&value.Type{Kind: value.Missing, Name: "gone"}), true},
		{"no field", &Bound{}, false},
		{"a part without bytes", field(number, value.Part{Expr: "$rdi"}), false},
		{"a part of less than nothing", field(number, value.Part{Expr: "$rdi", Size: -9}), false},
		{"a part of too much", field(number, value.Part{Expr: "str($rdi, 9)", Size: 1 << 40}), false},
		{"an array of nothing", field(&value.Type{Kind: value.Array, Count: 3}, value.Part{Expr: "$rdi", Size: 8}), false},
		{"a member without a type", field(&value.Type{Kind: value.Struct, Members: []value.Member{{Name: "x"}}}, value.Part{Expr: "$rdi", Size: 8}), false},
		{"no expression", field(number, value.Part{Expr: "$rdi +", Size: 8}), false},
		{"another name", field(number, value.Part{Expr: "m", Size: 8}), false},
	} {
		p := record
		p.Bound = c.bound
		h, err := kind("record").MakeFor(ctx, p)
		switch {
		case (err == nil) != c.ok:
			t.Errorf("%s: %v", c.name, err)
		case err == nil && (h.Open || len(h.Maps()) != len(template.Maps())):
			t.Errorf("%s: open %t, %d maps", c.name, h.Open, len(h.Maps()))
		}
	}
	p := Params{Exprs: []string{"n", "ret"}, Open: true}
	both, err := kind("record").Make(ctx, p)
	if err != nil || both.Entry == nil || both.Exit == nil {
		t.Fatalf("a record of the whole call: %v", err)
	}
	p.Bound = &Bound{Exprs: [][]value.Field{
		{{Name: "n", Parts: []value.Part{{Expr: "$rdi", Size: 8}, {Expr: "$rsi", Size: 8}, {Expr: "$rdx", Size: 8}, {Expr: "$rcx", Size: 8}, {Expr: "$r8", Size: 8}}}},
		{{Name: "ret", Parts: []value.Part{{Expr: "$rax", Size: 8}}}},
	}}
	if _, err := kind("record").MakeFor(ctx, p); !errors.Is(err, build.ErrBuild) {
		t.Errorf("more of the entry than is kept: %v", err)
	}
}
