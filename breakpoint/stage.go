package breakpoint

import (
	"slices"

	"github.com/ptracer/ptracer/arch"
)

// What goes into our own mappings for many sites is staged, and written at once where
// it lies together: each write is a system call. Nothing leads there before.

// staged are writes that wait, in their order.
type staged struct {
	list []piece
	data []byte
	err  error // of a write before
}

// mostStaged is how many bytes wait at the most: what is planned may be all functions of a
// browser.
const mostStaged = 1 << 20

// piece is one of them.
type piece struct {
	addr     arch.Addr
	from, to int // in data
}

func (p piece) end() arch.Addr { return p.addr + arch.Addr(p.to-p.from) }

// stageGap is how far apart may lie what is written at once; what lies between is
// ours, and is read first.
const stageGap = 256

// stage has data written to one of our mappings by the next Flush.
func (t *room) stage(addr arch.Addr, data []byte) {
	if len(t.staged.data)+len(data) > mostStaged {
		st := t.staged
		t.staged = staged{list: st.list[:0], data: st.data[:0], err: t.Flush()}
	}
	p := piece{addr, len(t.staged.data), len(t.staged.data) + len(data)}
	t.staged.list, t.staged.data = append(t.staged.list, p), append(t.staged.data, data...)
}

// expect makes room for n bytes that are going to be staged.
func (t *room) expect(n int) { t.staged.data = slices.Grow(t.staged.data, min(n, mostStaged)) }

// Flush writes what has been staged by Plan. An error means that our mappings, or the
// whole space, are gone.
func (t *room) Flush() error {
	st := t.staged
	t.staged = staged{}
	if st.err != nil {
		return st.err
	}
	order := make([]int, len(st.list)) // of each address's, the last comes last
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

// writePieces writes those of the pieces that list names, by address, which lie close
// together and end at end.
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
