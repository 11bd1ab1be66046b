package value

// Field is a value that is read at a place: the parts that its bytes come from, and what they mean.
type Field struct {
	Name  string
	Parts []Part
	Type  *Type // nil: a number or a string without a type
}

// Part is an expression of package filter that gives a part of a value.
type Part struct {
	Expr string
	// Size is how many bytes of the value it gives: of a number the low ones, of a string all.
	Size int64
	Gone bool `json:",omitempty"` // nothing is known of these bytes; Expr is ""
}
