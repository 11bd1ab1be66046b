package bench

import (
	"context"
	"fmt"
	"time"
)

// Progress tells how far a run is.
type Progress struct {
	Round, Rounds int           // from 1; Rounds is 0 while nobody knows yet
	Done, Total   int           // measurements of this round
	What          string        // is measured next
	Left          time.Duration // until the run ends, an estimate
}

// job is one measurement. Its figures go where it knows.
type job struct {
	what  string
	guess time.Duration // that it takes, before it has run
	most  int           // rounds that it takes part in at the most; 0: all
	run   func(ctx context.Context, round int) error
	fail  func(why string) // there is no figure

	took time.Duration // the last time
	ran  int           // times, without an error
	dead bool          // it fails
}

// estimate is how long a job is likely to take.
func (j *job) estimate() time.Duration {
	if j.took > 0 {
		return j.took
	}
	return j.guess
}

// due is whether a job takes part in a round.
func (j *job) due(round int) bool { return !j.dead && (j.most == 0 || round < j.most) }

// maxRounds is when more rounds would say no more.
const maxRounds = 25

// plan is all jobs of a run and the time that it has.
type plan struct {
	jobs []*job
	end  time.Time // no job is begun later that is likely to take longer
	most int       // rounds, 0: as many as there is time for
	tell func(Progress)
	now  func() time.Time

	rounds int    // that were begun
	ended  string // why before all was measured, "" if it was
}

// run makes rounds until the time is over, or ctx is. The first round is
// begun whatever there is; what it can't hold is said to have had no time.
func (p *plan) run(ctx context.Context) {
	end, most := p.end, p.most
	if most == 0 {
		most = maxRounds
	}
	for round := 0; round < most; round++ {
		due := p.due(round)
		if len(due) == 0 || round > 0 && p.now().Add(total(due)).After(end) {
			return
		}
		p.rounds++
		if !p.round(ctx, round, due, end, most) {
			return
		}
	}
}

// due are the jobs of a round.
func (p *plan) due(round int) (list []*job) {
	for _, j := range p.jobs {
		if j.due(round) {
			list = append(list, j)
		}
	}
	return list
}

func total(jobs []*job) (sum time.Duration) {
	for _, j := range jobs {
		sum += j.estimate()
	}
	return sum
}

// round makes each job once; it is false if the run ends with it.
func (p *plan) round(ctx context.Context, round int, due []*job, end time.Time, most int) bool {
	for i, j := range due {
		if ctx.Err() != nil {
			p.stop(fmt.Sprintf("interrupted in round %d, after %d of %d measurements", round+1, i, len(due)), due[i:])
			return false
		}
		if round > 0 && p.now().After(end) {
			return false
		}
		if round == 0 && p.now().Add(j.estimate()).After(end) {
			p.stop(fmt.Sprintf("the time was over after %d of %d measurements", i, len(due)), due[i:])
			return false
		}
		if p.tell != nil {
			rounds, left := p.left(round, due[i:], end, most)
			p.tell(Progress{Round: round + 1, Rounds: rounds, Done: i, Total: len(due), What: j.what, Left: left})
		}
		p.do(ctx, j, round)
	}
	return true
}

// do runs a job. One that fails before it had a figure is not tried again.
func (p *plan) do(ctx context.Context, j *job, round int) {
	start := p.now()
	err := j.run(ctx, round)
	j.took = p.now().Sub(start)
	switch {
	case err == nil:
		j.ran++
	case ctx.Err() != nil: // that is why
	default:
		j.dead = j.ran == 0
		j.fail(reason(err))
	}
}

// stop notes why the run ends, and which figures are missing for that.
func (p *plan) stop(why string, undone []*job) {
	p.ended = why
	for _, j := range undone {
		if j.ran == 0 && !j.dead {
			j.fail("no time: " + why)
		}
	}
}

// left is how many rounds there will be, and how long the run takes on: this
// round's rest, and as many more as fit. In the first one nobody knows how many.
func (p *plan) left(round int, rest []*job, end time.Time, most int) (rounds int, left time.Duration) {
	left = total(rest)
	rounds = round + 1
	if round == 0 && most > 1 {
		return 0, max(end.Sub(p.now()), 0) // it will use its time
	}
	for ; rounds < most; rounds++ {
		next := total(p.due(rounds))
		if next == 0 || p.now().Add(left+next).After(end) {
			break
		}
		left += next
	}
	return rounds, left
}
