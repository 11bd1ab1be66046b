package value

import (
	"encoding/json"
	"math"
	"testing"
)

var (
	i32   = &Type{Kind: Int, Size: 4}
	u8    = &Type{Kind: Uint, Size: 1}
	char  = &Type{Kind: Char, Size: 1}
	color = &Type{Kind: Enum, Size: 4, Signed: true, Names: []Name{{"RED", 0}, {"GREEN", 4}, {"BLUE", -2}, {"LOUD", 8}}}
)

func TestText(t *testing.T) {
	pair := &Type{Kind: Struct, Size: 8, Members: []Member{{Name: "a", Type: i32}, {Name: "b", Type: i32, Offset: 4}}}
	bits := &Type{Kind: Struct, Size: 4, Members: []Member{
		{Name: "x", Type: &Type{Kind: Uint, Size: 4}, BitSize: 3}, {Name: "y", Type: i32, BitSize: 5, BitOffset: 3}, {Name: "z", Type: i32, BitSize: 10, BitOffset: 8}}}
	option := &Type{Kind: Struct, Size: 8, Tag: &Member{Type: &Type{Kind: Uint, Size: 4}}, Variants: []Variant{
		{Name: "None", Values: []uint64{0}, Type: &Type{Kind: Struct}},
		{Name: "Some", Values: []uint64{1}, Type: &Type{Kind: Struct, Size: 8, Members: []Member{{Name: "__0", Type: i32, Offset: 4}}}},
		{Name: "Rect", Values: []uint64{2}, Type: &Type{Kind: Struct, Size: 8, Members: []Member{{Name: "w", Type: u8, Offset: 4}, {Name: "h", Type: u8, Offset: 5}}}},
	}}
	niche := &Type{Kind: Struct, Size: 4, Tag: option.Tag, Variants: []Variant{
		{Name: "None", Values: []uint64{0}, Type: &Type{Kind: Struct}},
		{Name: "Some", Default: true, Type: &Type{Kind: Struct, Size: 4, Members: []Member{{Name: "__0", Type: i32}}}},
	}}
	list := &Type{Kind: Array, Elem: i32, Size: 8, Count: 2}
	for _, c := range []struct {
		of         *Type
		data       []byte
		text, json string
	}{
		{i32, []byte{0xff, 0xff, 0xff, 0xff}, "-1", "-1"},
		{&Type{Kind: Uint, Size: 8}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "18446744073709551615", "18446744073709551615"},
		{&Type{Kind: Int, Size: 2}, []byte{0, 0x80}, "-32768", "-32768"},
		{&Type{Kind: Bool, Size: 1}, []byte{1}, "true", "true"},
		{&Type{Kind: Bool, Size: 1}, []byte{7}, "7", "7"},
		{char, []byte{'a'}, "97 'a'", "97"},
		{char, []byte{0xff}, "-1", "-1"},
		{&Type{Kind: UChar, Size: 1}, []byte{0xff}, "255", "255"},
		{&Type{Kind: Rune, Size: 4}, []byte{0xe4, 0, 0, 0}, "228 'ä'", "228"},
		{&Type{Kind: Pointer, Size: 8}, []byte{0x10, 0x20, 0, 0, 0, 0, 0, 0}, "0x2010", `"0x2010"`},
		{&Type{Kind: Float, Size: 8}, le64(math.Float64bits(1.5)), "1.5", "1.5"},
		{&Type{Kind: Float, Size: 8}, le64(math.Float64bits(math.Inf(1))), "+Inf", `"+Inf"`},
		{&Type{Kind: Float, Size: 4}, le64(uint64(math.Float32bits(0.1)))[:4], "0.1", "0.1"},
		{color, []byte{4, 0, 0, 0}, "GREEN", `"GREEN"`},
		{color, []byte{0xfe, 0xff, 0xff, 0xff}, "BLUE", `"BLUE"`},
		{color, []byte{12, 0, 0, 0}, "GREEN|LOUD", `"GREEN|LOUD"`},
		{color, []byte{13, 0, 0, 0}, "13", "13"},
		{pair, []byte{1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}, "{a=1, b=-2}", `{"a":1,"b":-2}`},
		{pair, []byte{1, 0, 0, 0, 2}, "{a=1, b=?}", `{"a":1,"b":null}`},
		{bits, []byte{0xfd, 0x01, 0x02, 0}, "{x=5, y=-1, z=-511}", `{"x":5,"y":-1,"z":-511}`},
		{option, []byte{0, 0, 0, 0, 9, 0, 0, 0}, "None", `"None"`},
		{option, []byte{1, 0, 0, 0, 9, 0, 0, 0}, "Some(9)", `{"Some":9}`},
		{option, []byte{2, 0, 0, 0, 3, 4, 0, 0}, "Rect{w=3, h=4}", `{"Rect":{"w":3,"h":4}}`},
		{option, []byte{3, 0, 0, 0, 3, 4, 0, 0}, "?", "null"},
		{niche, []byte{0, 0, 0, 0}, "None", `"None"`},
		{niche, []byte{7, 0, 0, 0}, "Some(7)", `{"Some":7}`},
		{list, []byte{1, 0, 0, 0, 2, 0, 0, 0}, "[1, 2]", "[1,2]"},
		{&Type{Kind: Array, Elem: i32, Count: 1, More: 9}, []byte{1, 0, 0, 0}, "[1, ... 9 more]", `{"len":10,"first":[1]}`},
		{&Type{Kind: Slice, Elem: i32}, append(le64(2), 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0), "[1, 2]", "[1,2]"},
		{&Type{Kind: Slice, Elem: i32}, append(le64(7), 1, 0, 0, 0, 2, 0, 0, 0), "[1, 2, ... 5 more]", `{"len":7,"first":[1,2]}`},
		{&Type{Kind: Slice, Elem: i32}, append(le64(0), 1, 0, 0, 0), "[]", "[]"},
		{&Type{Kind: Slice, Elem: i32}, le64(3), "[... 3 more]", `{"len":3,"first":[]}`},
		{&Type{Kind: Slice, Elem: i32}, []byte{1}, "?", "null"},
		{&Type{Kind: Array, Elem: char, Count: 4}, []byte("ab\x00c"), `"ab"`, `"ab"`},
		{&Type{Kind: Missing, Name: "optimised out"}, nil, "<optimised out>", "null"},
		{&Type{}, []byte{1}, "?", "null"},
	} {
		if got := string(c.of.AppendText(nil, c.data)); got != c.text {
			t.Errorf("%x: %s, want %s", c.data, got, c.text)
		}
		got := string(c.of.AppendJSON(nil, c.data))
		if got != c.json || !json.Valid([]byte(got)) {
			t.Errorf("%x: JSON %s, want %s", c.data, got, c.json)
		}
	}
}

func le64(v uint64) (b []byte) {
	for i := range 8 {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

// TestSent: a type that was sent as JSON means the same.
func TestSent(t *testing.T) {
	text, err := json.Marshal(color)
	if err != nil {
		t.Fatal(err)
	}
	var back Type
	if err := json.Unmarshal(text, &back); err != nil || string(back.AppendText(nil, []byte{4, 0, 0, 0})) != "GREEN" {
		t.Errorf("%s became %+v, %v", text, back, err)
	}
}

// FuzzValue: any bytes have a text and JSON, of any type that is sent.
func FuzzValue(f *testing.F) {
	text, _ := json.Marshal(&Type{Kind: Struct, Size: 8, Members: []Member{{Name: "a", Type: i32}, {Name: "b", Type: color, Offset: 4}}})
	f.Add(text, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, text, data []byte) {
		var of Type
		if json.Unmarshal(text, &of) != nil || !of.Whole() {
			return
		}
		of.AppendText(nil, data)
		if out := of.AppendJSON(nil, data); !json.Valid(out) {
			t.Errorf("%s of %x is %s", text, data, out)
		}
	})
}
