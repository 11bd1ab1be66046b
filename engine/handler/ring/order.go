package ring

import "container/heap"

// Order sorts values by their times. It holds each value back until no earlier one can arrive any
// more: records of several rings, or of threads that read the time before they took their place in
// one ring.
type Order[T any] struct {
	Span uint64 // a value arrives at most this much too late, in units of its time

	held   held[T]
	newest uint64
	seq    uint64
}

// waiting is a value that is held back; values with equal times keep their order.
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

// Put adds a value with its time.
func (o *Order[T]) Put(time uint64, v T) {
	o.Pass(time)
	o.seq++
	heap.Push(&o.held, waiting[T]{time, o.seq, v})
}

// Pass says that the present time is at least time, though no value has arrived.
func (o *Order[T]) Pass(time uint64) { o.newest = max(o.newest, time) }

// Next returns the earliest value if no earlier one can arrive any more, or if all is true.
func (o *Order[T]) Next(all bool) (v T, ok bool) {
	if len(o.held) == 0 || !all && o.newest-o.held[0].time < o.Span {
		return v, false
	}
	return heap.Pop(&o.held).(waiting[T]).value, true
}
