package event

import "testing"

// told puts a hit into a queue as a session's thread does: by a Hit that it uses again.
func told(q *Queue, h *Hit, i int) {
	*h = Hit{Probe: 3, Location: "loop:work", Addr: 4, NArgs: 2, Args: [MaxArgs]uint64{1, 2}}
	q.Put(&Event{Time: int64(i), PID: 1, TID: 2, Body: h}, false)
}

// BenchmarkPut puts hits into a queue with room.
func BenchmarkPut(b *testing.B) {
	const room = 1 << 10
	q, h := NewQueue(room), &Hit{}
	b.ReportAllocs()
	for i := range b.N {
		told(q, h, i)
		if q.n == room {
			q.head, q.n = 0, 0
		}
	}
}

// BenchmarkFull puts hits into a queue without room.
func BenchmarkFull(b *testing.B) {
	q, h := NewQueue(64), &Hit{}
	b.ReportAllocs()
	for i := range b.N {
		told(q, h, i)
	}
}

// BenchmarkPutPoll puts hits, and polls each.
func BenchmarkPutPoll(b *testing.B) {
	q, h, ctx := NewQueue(1<<10), &Hit{}, b.Context()
	b.ReportAllocs()
	for i := range b.N {
		told(q, h, i)
		if e, err := q.Poll(ctx); err != nil || e.TID != 2 {
			b.Fatal(err)
		}
	}
}
