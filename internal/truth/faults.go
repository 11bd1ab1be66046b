package truth

import "runtime"

// Fault is a known fault of ptracer: rows that it makes wrong. A row that is wrong
// because of it passes, and one that is right all the same fails: when a fault is
// mended its line is deleted.
type Fault struct {
	Name string
	Of   func(r *Row) bool
}

// Faults are the known ones, a line each.
var Faults = []Fault{
	{"Go's functions take arguments in registers of their own on amd64: argN reads C's", func(r *Row) bool { return r.Program.Language == Go && runtime.GOARCH == "amd64" && r.Question.Args }},
	{"a place that two locations name is counted twice", func(r *Row) bool { return r.Question.Again != "" }},
	{"of more than 1,021 threads hits are in no count", func(r *Row) bool { return r.Threads == crowd }},
	{"an IFUNC's resolver is counted, not what it picks", func(r *Row) bool { return r.Program == ifunc }},
}

// Fault is the known fault that a row has, nil if none.
func (r *Row) Fault() *Fault {
	for i := range Faults {
		if Faults[i].Of(r) {
			return &Faults[i]
		}
	}
	return nil
}
