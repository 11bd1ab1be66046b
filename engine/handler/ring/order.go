package ring

import "container/heap"

// Order brings records into the order of their times, by holding each back
// until later ones are so many, or so much later, that none can come that is
// earlier: what several threads, or CPUs with rings of their own, wrote.
type Order struct {
	Time func(record []byte) uint64 // of a record, ns
	Span uint64                     // records come at most so much too late, ns
	Max  int                        // that are held back; 0: any number

	held   held
	newest uint64
	seq    uint64
	free   [][]byte
}

// waiting is a record that is held back; those of one time keep their order.
type waiting struct {
	time, seq uint64
	record    []byte
}

type held []waiting

func (h held) Len() int { return len(h) }
func (h held) Less(i, j int) bool {
	return h[i].time < h[j].time || h[i].time == h[j].time && h[i].seq < h[j].seq
}
func (h held) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *held) Push(x any)   { *h = append(*h, x.(waiting)) }
func (h *held) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// Put adds a copy of a record.
func (o *Order) Put(record []byte) {
	var buf []byte
	if n := len(o.free); n > 0 {
		buf, o.free = o.free[n-1], o.free[:n-1]
	}
	t := o.Time(record)
	o.newest = max(o.newest, t)
	o.seq++
	heap.Push(&o.held, waiting{t, o.seq, append(buf[:0], record...)})
}

// Next gives the earliest record if no earlier one can come any more, or if all
// is true. It is valid until the next Put.
func (o *Order) Next(all bool) (record []byte, ok bool) {
	if len(o.held) == 0 {
		return nil, false
	}
	full := o.Max > 0 && len(o.held) > o.Max
	if !all && !full && o.newest-o.held[0].time < o.Span {
		return nil, false
	}
	w := heap.Pop(&o.held).(waiting)
	o.free = append(o.free, w.record)
	return w.record, true
}
