package event

import (
	"testing"

	"github.com/ptracer/ptracer/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestStopsAreKept fills a queue: hits are dropped and counted, stops are not, and all events are
// in order.
func TestStopsAreKept(t *testing.T) {
	q := NewQueue(3)
	for i := range 200 {
		q.Put(&Event{Kind: []Kind{Hit, Stopped}[i%2], TID: i}, false)
	}
	q.End()
	var stops, missed int
	last := -1
	for e := range q.Events(t.Context()) {
		switch e.Kind {
		case Stopped:
			stops++
		case Missed:
			missed += int(e.Count)
			continue
		}
		if e.TID <= last {
			t.Errorf("%d behind %d", e.TID, last)
		}
		last = e.TID
	}
	if stops != 100 || missed != 98 || q.Total() != 98 {
		t.Errorf("%d stops, %d missed", stops, missed)
	}
}
