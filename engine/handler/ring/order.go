package ring

import "container/heap"

// Order brings values into the order of their times, by holding each back until
// none can come any more that is earlier: records of several rings, or of
// threads that took the time before they took their place in one.
type Order[T any] struct {
	Span uint64 // a value comes at most so much too late, in units of its time

	held   held[T]
	newest uint64
	seq    uint64
}

// waiting is a value that is held back; those of one time keep their order.
type waiting[T any] struct {
	time, seq uint64
	value     T
}

type held[T any] []waiting[T]

func (h held[T]) Len() int { return len(h) }
func (h held[T]) Less(i, j int) bool {
	return h[i].time < h[j].time || h[i].time == h[j].time && h[i].seq < h[j].seq
}
func (h held[T]) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *held[T]) Push(x any)   { *h = append(*h, x.(waiting[T])) }
func (h *held[T]) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// Put adds a value of a time.
func (o *Order[T]) Put(time uint64, v T) {
	o.Pass(time)
	o.seq++
	heap.Push(&o.held, waiting[T]{time, o.seq, v})
}

// Pass says that it is as late as that by now, though no value came.
func (o *Order[T]) Pass(time uint64) { o.newest = max(o.newest, time) }

// Next gives the earliest value if no earlier one can come any more, or if all
// is true.
func (o *Order[T]) Next(all bool) (v T, ok bool) {
	if len(o.held) == 0 || !all && o.newest-o.held[0].time < o.Span {
		return v, false
	}
	return heap.Pop(&o.held).(waiting[T]).value, true
}
