package source

import (
	"cmp"
	sd "debug/dwarf"
	"fmt"
	"path"
	"slices"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/dwarf/line"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// row is a row of a line table that is of the line that is looked for.
type row struct {
	line.Row
	file string
}

// search looks for a line in line tables.
type search struct {
	want         Files
	line, column int
	rows         []row
	files        map[string]bool // files that are meant
	next         int             // the first line behind that has code
	damage       error           // why a table could not be read, the first one
	code         func(uint64) bool
}

// Line finds the places of FILE:LINE, or of FILE:LINE:COLUMN where column is not 0: in each copy that
// was inlined or made from a template, the first statement of the line. Code that was not optimised
// has one place in each block: the first instruction of the line, or the one behind the prologue if
// the function begins there. In optimised code, a place is each instruction with which the first of
// the line's statements begins, since the optimiser copies statements when it unrolls or splits loops;
// several statements of a macro are such places, too.
// The error is of type *NoFileError or *NoLineError if there is none.
func (s *Source) Line(want Files, lineno, column int) ([]Place, error) {
	q := search{want: want, line: lineno, column: column, files: map[string]bool{}, code: s.code}
	err := s.d.LineTables(func(t *line.Table, err error) bool {
		if err == nil {
			err = q.table(t)
		}
		q.damage = cmp.Or(q.damage, err)
		return len(q.rows) <= mostRows
	})
	switch {
	case err != nil:
		return nil, err
	case len(q.rows) > mostRows:
		return nil, fmt.Errorf("%s:%d has more than %d instructions: %w", want.Typed, lineno, mostRows, elffile.ErrBudget)
	case len(q.files) == 0:
		return nil, cmp.Or[error](q.damage, &NoFileError{File: want.Typed, Like: s.likeFiles(want.Typed)})
	}
	rows := slices.DeleteFunc(q.rows, func(r row) bool { return !s.code(r.Addr) })
	places, err := s.places(statements(rows))
	if err != nil {
		return nil, err
	}
	if len(places) == 0 {
		return nil, cmp.Or[error](q.damage, &NoLineError{File: q.shown(), Line: lineno, Column: column, Next: q.next})
	}
	return places, nil
}

// shown is the name of the file in errors: as typed, or that of the file that has a function.
func (q *search) shown() string {
	if q.want.any == nil {
		return q.want.Typed
	}
	return path.Base(sortedKeys(q.files)[0])
}

// mostRows is how many rows a line may have: a template has been seen to have some thousands.
const mostRows = 1 << 17

// table looks through one table, if it has a file that is meant.
func (q *search) table(t *line.Table) error {
	meant := map[int]string{}
	for i := range t.Files() {
		if !q.want.meantBase(t.Base(i)) {
			continue
		}
		if name := t.File(i, ""); name != "" && q.want.meant(name) {
			meant[i] = name
			q.files[name] = true
		}
	}
	if len(meant) == 0 {
		return nil
	}
	return t.Rows(func(r *line.Row) bool {
		name, ok := meant[r.File]
		switch {
		case !ok || r.End:
		case r.Line == q.line && (q.column == 0 || r.Column == q.column):
			q.rows = append(q.rows, row{*r, name})
		case r.Line > q.line && (q.next == 0 || r.Line < q.next) && q.code(r.Addr):
			q.next = r.Line
		}
		return len(q.rows) <= mostRows
	})
}

// statements are the rows with which statements begin, or all if there are none, each address once.
func statements(rows []row) []row {
	if slices.ContainsFunc(rows, func(r row) bool { return r.Stmt }) {
		rows = slices.DeleteFunc(rows, func(r row) bool { return !r.Stmt })
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Column, b.Column)) })
	return slices.CompactFunc(rows, func(a, b row) bool { return a.Addr == b.Addr })
}

// places makes places of rows, which are by ascending addresses.
func (s *Source) places(rows []row) ([]Place, error) {
	found := finder{s: s, blocks: map[block]int{}}
	for _, r := range rows {
		if err := found.row(r); err != nil {
			return nil, err
		}
	}
	return found.first(), nil
}

// block is a block of the source, or an inlined call, in one copy of its code.
type block struct {
	unit *dwarf.Unit
	off  uint64
}

// finder finds the places of rows.
type finder struct {
	s      *Source
	blocks map[block]int // by their numbers
	outer  [][]block     // by number: the blocks around one, in the same copy of a function, nearest first
	places []Place
	marks  []bool // by number: the compiler marks where statements begin
}

// row makes a place of a row, if it is one.
func (f *finder) row(r row) error {
	scopes, err := f.s.d.Scopes(r.Addr)
	if err != nil {
		return err
	}
	p := Place{Addr: arch.Addr(r.Addr), File: r.file, Line: r.Line, Column: r.Column, Block: len(f.blocks)}
	if len(scopes) == 0 { // assembly
		f.add(block{off: r.Addr}, nil, false, p)
		return nil
	}
	named(&p, scopes)
	last := scopes[len(scopes)-1]
	in := block{last.Unit(), last.Offset()}
	n, seen := f.blocks[in]
	optimised, marks := f.s.Optimises(in.unit)
	if !optimised {
		p.Addr = f.s.behindPrologue(scopes[0], p.Addr)
	}
	switch {
	case !seen:
		f.add(in, around(scopes), marks, p)
	case optimised:
		p.Block = n
		f.places = append(f.places, p)
	}
	return nil
}

// add adds the first place of a block.
func (f *finder) add(in block, outer []block, marks bool, p Place) {
	f.blocks[in] = p.Block
	f.outer = append(f.outer, outer)
	f.marks = append(f.marks, marks)
	f.places = append(f.places, p)
}

// around are the blocks around the innermost of some scopes, in the same copy of a function.
func around(scopes []dwarf.Entry) (list []block) {
	for i := len(scopes) - 1; i > 0 && scopes[i].Tag() != sd.TagInlinedSubroutine; i-- {
		list = append(list, block{scopes[i-1].Unit(), scopes[i-1].Offset()})
	}
	return list
}

// merge gives the places of a block that is inside another one with places in the same column to that:
// one macro has made both.
func (f *finder) merge(columns []int) {
	for i := range f.places {
		p := &f.places[i]
		for _, in := range f.outer[p.Block] {
			if n, ok := f.blocks[in]; ok && columns[n] == columns[p.Block] {
				p.Block = n
			}
		}
	}
}

// first leaves of each block the places of the statement that comes first in the line: the one with
// the smallest column. Where the compiler does not mark statements, columns are those of parts of
// expressions: there it is the one at the lowest address. None is left of a block inside another one
// that has a place further left.
func (f *finder) first() []Place {
	columns := make([]int, len(f.blocks))
	for _, p := range f.places {
		if c := columns[p.Block]; c == 0 || f.marks[p.Block] && p.Column < c {
			columns[p.Block] = p.Column
		}
	}
	f.merge(columns)
	return slices.DeleteFunc(f.places, func(p Place) bool {
		for _, in := range f.outer[p.Block] {
			if n, ok := f.blocks[in]; ok && columns[n] < p.Column {
				return true
			}
		}
		return p.Column != columns[p.Block]
	})
}

// named notes which functions a place is in.
func named(p *Place, scopes []dwarf.Entry) {
	p.Caller = scopes[0].QualifiedName()
	p.Function = p.Caller
	for _, e := range scopes[1:] {
		if e.Tag() == sd.TagInlinedSubroutine {
			p.Function = e.QualifiedName()
		}
	}
}
