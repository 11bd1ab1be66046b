package engine

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkThreads is what it takes a process of many threads to be attached to, counted at
// one function, and let go: each in ms, and the longest time that any of its tasks stood.
func BenchmarkThreads(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := launch(b, "slots", "there", fmt.Sprint(n), "1")
			var attach, plant, detach time.Duration
			var pause int64
			for range b.N {
				start := time.Now()
				s, err := Attach(context.Background(), p.pid)
				if err != nil {
					b.Fatal(err)
				}
				attach += time.Since(start)
				start = time.Now()
				if _, err := s.Register(ProbeSpec{Location: "work"}); err != nil {
					b.Fatal(err)
				}
				plant += time.Since(start)
				start = time.Now()
				if err := s.Detach(); err != nil {
					b.Fatal(err)
				}
				detach += time.Since(start)
				pause = max(pause, int64(s.Stats().Pause))
			}
			each := func(d time.Duration) float64 { return d.Seconds() * 1e3 / float64(b.N) }
			b.ReportMetric(each(attach), "attach-ms")
			b.ReportMetric(each(plant), "plant-ms")
			b.ReportMetric(each(detach), "detach-ms")
			b.ReportMetric(float64(pause)/1e6, "pause-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
