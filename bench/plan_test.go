package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeRun is a plan with a clock that jobs advance.
type fakeRun struct {
	plan
	clock  time.Time
	log    []string
	told   []Progress
	failed []string
}

func newFake(budget time.Duration) *fakeRun {
	f := &fakeRun{clock: time.Unix(1000, 0)}
	f.plan = plan{end: f.clock.Add(budget), now: func() time.Time { return f.clock }, tell: func(p Progress) { f.told = append(f.told, p) }}
	return f
}

// add adds a job that takes a given time; errs are its results, one per run.
func (f *fakeRun) add(name string, guess, takes time.Duration, errs ...error) *job {
	j := &job{what: name, guess: guess,
		run: func(_ context.Context, round int) (err error) {
			f.clock = f.clock.Add(takes)
			f.log = append(f.log, fmt.Sprint(name, round))
			if len(errs) > 0 {
				err, errs = errs[0], errs[1:]
			}
			return err
		},
		fail: func(why string) { f.failed = append(f.failed, name+": "+why) }}
	f.jobs = append(f.jobs, j)
	return j
}

func (f *fakeRun) check(t *testing.T, log string, rounds int, failed ...string) {
	t.Helper()
	if got := strings.Join(f.log, " "); got != log || f.rounds != rounds || !slices.Equal(f.failed, failed) {
		t.Errorf("%s in %d rounds, failed %q;\nwant %s in %d, %q", got, f.rounds, f.failed, log, rounds, failed)
	}
}

// TestRounds: jobs are interleaved, as often as there is time for; some less often.
func TestRounds(t *testing.T) {
	f := newFake(10 * time.Second)
	f.add("a", time.Second, 2*time.Second)
	f.add("b", time.Second, 2*time.Second).most = 1
	f.run(context.Background())
	f.check(t, "a0 b0 a1 a2 a3", 4)
	if f.ended != "" {
		t.Errorf("ended: %q", f.ended)
	}
	if took := f.clock.Sub(time.Unix(1000, 0)); took != 10*time.Second {
		t.Errorf("it took %v", took)
	}
	f = newFake(time.Hour)
	f.add("a", time.Second, time.Second)
	f.most = 3
	f.run(context.Background())
	f.check(t, "a0 a1 a2", 3)
}

// TestProgress: from the second round on the number of rounds and their length are known.
func TestProgress(t *testing.T) {
	f := newFake(10 * time.Second)
	f.add("a", time.Second, 2*time.Second)
	f.add("b", time.Second, time.Second)
	f.run(context.Background())
	want := []Progress{
		{1, 0, 0, 2, "a", 10 * time.Second}, {1, 0, 1, 2, "b", 8 * time.Second},
		{2, 3, 0, 2, "a", 6 * time.Second}, {2, 3, 1, 2, "b", 4 * time.Second},
		{3, 3, 0, 2, "a", 3 * time.Second}, {3, 3, 1, 2, "b", time.Second},
	}
	if !slices.Equal(f.told, want) {
		t.Errorf("%+v", f.told)
	}
}

// TestNoTime: jobs that do not fit into the first round are reported, each of them.
func TestNoTime(t *testing.T) {
	f := newFake(3 * time.Second)
	f.add("a", time.Second, 2*time.Second)
	f.add("b", 5*time.Second, time.Second)
	f.add("c", time.Second, time.Second)
	f.run(context.Background())
	const why = "the time was over after 1 of 3 measurements"
	f.check(t, "a0", 1, "b: no time: "+why, "c: no time: "+why)
	if f.ended != why {
		t.Errorf("ended: %q", f.ended)
	}
}

// TestInterrupted: figures measured so far stay, and the rest has a reason.
func TestInterrupted(t *testing.T) {
	f := newFake(time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	f.add("a", time.Second, time.Second)
	stop := f.add("b", time.Second, time.Second)
	stop.run = func(ctx context.Context, round int) error {
		if f.log = append(f.log, fmt.Sprint("b", round)); round == 1 {
			cancel()
			return ctx.Err() // which is no failure of b's
		}
		return nil
	}
	f.add("c", time.Second, time.Second)
	f.run(ctx)
	f.check(t, "a0 b0 c0 a1 b1", 2)
	if !strings.HasPrefix(f.ended, "interrupted in round 2, after 2 of 3") {
		t.Errorf("ended: %q", f.ended)
	}
	f = newFake(time.Hour)
	f.add("a", time.Second, time.Second)
	f.run(ctx)
	f.check(t, "", 1, "a: no time: interrupted in round 1, after 0 of 1 measurements")
}

// TestFailing: a way that is not available is not tried again; one that was available once is.
func TestFailing(t *testing.T) {
	f := newFake(time.Hour)
	f.most = 3
	f.add("a", time.Second, time.Second, errors.New("no  right"), nil)
	f.add("b", time.Second, time.Second, nil, errors.New("lost\nits way"), nil)
	f.run(context.Background())
	f.check(t, "a0 b0 b1 b2", 3, "a: no right", "b: lost its way")
}
