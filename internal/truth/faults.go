package truth

// Fault is a known fault of ptracer: rows that it makes wrong. A row that is wrong
// because of it passes, and one that is right all the same fails: when a fault is
// mended its line is deleted.
type Fault struct {
	Name string
	Of   func(r *Row) bool
}

// Faults are the known ones, a line each.
var Faults = []Fault{}

// Fault is the known fault that a row has, nil if none.
func (r *Row) Fault() *Fault {
	for i := range Faults {
		if Faults[i].Of(r) {
			return &Faults[i]
		}
	}
	return nil
}
