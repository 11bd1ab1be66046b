package breakpoint

import (
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// Writes to ptracer's own mappings for many sites are staged, and adjacent ones are made with one
// system call. No jump or trap leads there before.

// staged holds writes that wait, in their order.
type staged struct {
	list []piece
	data []byte
	err  error // the error of an earlier write
}

// mostStaged is how many bytes wait at most: a plan may cover all functions of a browser.
const mostStaged = 1 << 20

// piece is one staged write.
type piece struct {
	addr     arch.Addr
	from, to int // in data
}

func (p piece) end() arch.Addr { return p.addr + arch.Addr(p.to-p.from) }

// stageGap is the largest gap, in bytes, between pieces written at once; the bytes in the gap are
// ptracer's, and are read first.
const stageGap = 256

// stage records data that the next Flush writes to one of ptracer's mappings.
func (t *room) stage(addr arch.Addr, data []byte) {
	if len(t.staged.data)+len(data) > mostStaged {
		st := t.staged
		t.staged = staged{list: st.list[:0], data: st.data[:0], err: t.Flush()}
	}
	p := piece{addr, len(t.staged.data), len(t.staged.data) + len(data)}
	t.staged.list, t.staged.data = append(t.staged.list, p), append(t.staged.data, data...)
}

// expect makes room for n more bytes of staged data.
func (t *room) expect(n int) { t.staged.data = slices.Grow(t.staged.data, min(n, mostStaged)) }

// Flush writes what Plan has staged. An error means that ptracer's mappings, or the whole space,
// are gone.
func (t *room) Flush() error {
	st := t.staged
	t.staged = staged{}
	if st.err != nil {
		return st.err
	}
	order := make([]int, len(st.list)) // the last piece for an address comes last
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmpAddr(st.list[a].addr, st.list[b].addr) })
	for len(order) > 0 {
		n, end := 1, st.list[order[0]].end()
		for n < len(order) && st.list[order[n]].addr < end+stageGap {
			end = max(end, st.list[order[n]].end())
			n++
		}
		if err := t.writePieces(&st, order[:n], end); err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

// writePieces writes the pieces that list names, by address. They lie close together and end at
// end.
func (t *room) writePieces(st *staged, list []int, end arch.Addr) error {
	from := st.list[list[0]].addr
	out, gaps := make([]byte, end-from), false
	for at, i := from, 0; i < len(list) && !gaps; i++ {
		p := st.list[list[i]]
		gaps = p.addr > at
		at = max(at, p.end())
	}
	if gaps {
		if err := t.mem.Read(from, out); err != nil {
			return err
		}
	}
	slices.Sort(list)
	for _, i := range list {
		p := st.list[i]
		copy(out[p.addr-from:], st.data[p.from:p.to])
	}
	return t.mem.Write(from, out)
}
