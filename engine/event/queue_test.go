package event

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestStopsAreKept fills a queue: hits are dropped and counted, stops are not, and all events are
// in order.
func TestStopsAreKept(t *testing.T) {
	q := NewQueue(3)
	for i := range 200 {
		q.Put(&Event{TID: i, Body: []Body{&Hit{}, &Stopped{}}[i%2]}, false)
	}
	q.End()
	var stops, dropped int
	last := -1
	for e := range q.Events(t.Context()) {
		switch b := e.Body.(type) {
		case *Stopped:
			stops++
		case *Dropped:
			dropped += int(b.Count)
			continue
		}
		if e.TID <= last {
			t.Errorf("%d behind %d", e.TID, last)
		}
		last = e.TID
	}
	if stops != 100 || dropped != 98 || q.Total() != 98 {
		t.Errorf("%d stops, %d dropped", stops, dropped)
	}
}

// TestHitsAreCopied puts hits by one Hit, more than there is room for at first. Each Hit that a
// consumer gets is its own: later hits, which use the same entries of the ring, do not change it.
func TestHitsAreCopied(t *testing.T) {
	const n = 1000
	q, scratch := NewQueue(n), &Hit{}
	var got []*Hit
	for round := range 3 {
		for i := range n {
			*scratch = Hit{Probe: ProbeID(round), NArgs: 1, Args: [MaxArgs]uint64{uint64(i)}, Strings: []string{fmt.Sprint(round, i)}}
			q.Put(&Event{TID: i, Body: scratch}, false)
		}
		for range n {
			e, ok := q.Next()
			h, is := e.Body.(*Hit)
			if !ok || !is {
				t.Fatalf("%v, %v", e, ok)
			}
			got = append(got, h)
		}
	}
	*scratch = Hit{}
	for i, h := range got {
		round, i := i/n, i%n
		if h.Probe != ProbeID(round) || h.NArgs != 1 || h.Args[0] != uint64(i) || !slices.Equal(h.Strings, []string{fmt.Sprint(round, i)}) {
			t.Fatalf("hit %d of round %d became %+v", i, round, h)
		}
	}
}

// TestMixedBodies puts bodies of all kinds: each comes out as it went in, behind hits that were in
// its entry before it.
func TestMixedBodies(t *testing.T) {
	q := NewQueue(2)
	for k := range kinds {
		for _, b := range []Body{&Hit{NArgs: int(k), Location: "a", Strings: []string{"b"}}, NewBody(k)} {
			q.Put(&Event{Time: int64(k), Body: b}, false)
		}
		if e, _ := q.Next(); e.Kind() != KindHit || e.Body.(*Hit).NArgs != int(k) {
			t.Errorf("a hit became %v", e.Kind())
		}
		if e, ok := q.Next(); !ok || e.Kind() != k || e.Time != int64(k) {
			t.Errorf("%v became %v", k, e.Kind())
		}
	}
	for i, x := range q.ring {
		if x.Body != nil || x.hit.Location != "" || x.hit.Strings != nil {
			t.Errorf("entry %d keeps %+v", i, x)
		}
	}
}

// TestPutAllocatesNothing: a hit is put without an allocation, whether there is room or not.
func TestPutAllocatesNothing(t *testing.T) {
	const size = 256 // a queue of this size has its whole ring from the beginning
	for name, runs := range map[string]int{"room": size / 2, "no room": 4 * size} {
		t.Run(name, func(t *testing.T) {
			q, h := NewQueue(size), &Hit{}
			if n := testing.AllocsPerRun(runs, func() { told(q, h, 1) }); n != 0 {
				t.Errorf("%v allocations a hit", n)
			}
			if full := q.Total() > 0; full != (runs > size) {
				t.Errorf("%d hits dropped", q.Total())
			}
		})
	}
}
