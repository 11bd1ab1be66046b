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
	at := func(nanos uint64) sample { return sample{1000 + hz*nanos, 5000 + nanos} }
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
	slept := sample{first.cycles + 10, first.nanos + 1e12}
	k.adjust(slept, time.Second)
	if k.line.said != slept {
		t.Errorf("after a sleep it says %+v", k.line.said)
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
