package clock

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/engine/handler/program"

	"github.com/ptracer/ptracer/engine/handler/maps"
)

// TestAdjust: a wrong clock is right after the next pause, without a jump.
func TestAdjust(t *testing.T) {
	const hz = 3 // cycles a nanosecond
	at := func(nanos uint64) sample { return sample{1000 + hz*nanos, 5000 + nanos, 30} }
	k := keeper{last: at(0), line: line{at(0), 1.00002 / hz}} // 20 ppm too fast
	old, first := k.line, at(20e6)
	k.adjust(first, 100*time.Millisecond)
	from := k.line.said.cycles
	if from <= first.cycles {
		t.Errorf("the new line holds from %d on, not later than %d", from, first.cycles)
	}
	if before, after := old.at(from), k.line.at(from); after-before > 1 || before-after > 1 {
		t.Errorf("it jumps from %f to %f", before, after)
	}
	second := at(20e6 + uint64(ahead) + 100e6)
	if wrong := k.line.at(second.cycles) - float64(second.nanos); wrong > 2 || wrong < -2 {
		t.Errorf("it is %f ns wrong after a pause", wrong)
	}
	slept := sample{first.cycles + 1e6, first.nanos + 1e12, 30}
	k.adjust(slept, time.Second)
	if k.line.said != slept {
		t.Errorf("after a sleep it says %+v", k.line.said)
	}
}

// TestPoor: a sample that took long is no measure, neither of the rate nor of what is wrong.
func TestPoor(t *testing.T) {
	from := sample{1000, 5000, 300}
	for _, c := range []struct {
		to   sample
		want bool
	}{
		{sample{1000 + 6e6, 5000 + 2e6, 300}, false},
		{sample{1000 + 6e6, 5000 + 2e6, 2000}, true}, // 190 ppm
		{sample{1000 + 60e6, 5000 + 20e6, 2000}, false},
		{sample{900, 6000, 300}, true},
	} {
		if got := poor(from, c.to); got != c.want {
			t.Errorf("%+v: %t", c.to, got)
		}
	}
	was := line{from, 1.0 / 3}
	k := keeper{last: from, line: was}
	k.adjust(sample{1000 + 3e6, 5000 + 1e6 + 900, 100_000}, 100*time.Millisecond)
	if k.line != was {
		t.Errorf("adjusted by a poor sample: %+v", k.line)
	}
}

// TestMeasure: a rate is measured from before, if that is recent.
func TestMeasure(t *testing.T) {
	if Available() != nil {
		t.Log(Available())
		return
	}
	recent := now() // as if taken a second ago: an emulated CPU takes long for a sample
	recent.cycles -= uint64(float64(time.Second) / rate(begun, recent))
	recent.nanos -= uint64(time.Second)
	if from, to := measure(recent); from != recent || poor(from, to) {
		t.Errorf("from %+v to %+v", from, to)
	}
	old := now()
	old.nanos -= uint64(time.Hour)
	for _, before := range []sample{{}, old} {
		if from, to := measure(before); from == before || to.cycles <= from.cycles {
			t.Errorf("from %+v to %+v", from, to)
		}
	}
}

// TestKeep keeps one set's clock.
func TestKeep(t *testing.T) {
	if Available() != nil {
		t.Log(Available())
		return
	}
	set, err := maps.New([]program.Map{{Name: "a", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}}, maps.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if err := Keep(set); err != nil {
		t.Fatal(err)
	}
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	clocks.mu.Lock()
	says := clocks.line.at(cycles())
	clocks.mu.Unlock()
	if wrong := time.Duration(says - float64(now.Nano())); wrong.Abs() > time.Second {
		t.Errorf("it is %v wrong", wrong)
	}
	Drop(set)
	if len(clocks.sets) != 0 {
		t.Error("it is kept on")
	}
}
