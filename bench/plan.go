package bench

import (
	"context"
	"fmt"
	"time"
)

// Progress describes the progress of a run.
type Progress struct {
	Round, Rounds int           // from 1; Rounds is 0 while it is not known
	Done, Total   int           // measurements of this round
	What          string        // the next measurement
	Left          time.Duration // estimated time until the run ends
}

// job is one measurement. It stores its figures itself.
type job struct {
	what  string
	guess time.Duration // estimated time before the first run
	most  int           // largest number of rounds that it takes part in; 0: all
	run   func(ctx context.Context, round int) error
	fail  func(why string) // records that there is no figure

	took time.Duration // duration of the last run
	ran  int           // number of runs without an error
	dead bool          // it has failed
}

// estimate returns how long a job will probably take.
func (j *job) estimate() time.Duration {
	if j.took > 0 {
		return j.took
	}
	return j.guess
}

// due reports whether a job takes part in a round.
func (j *job) due(round int) bool { return !j.dead && (j.most == 0 || round < j.most) }

// maxRounds is how many rounds suffice: more would not change the figures.
const maxRounds = 25

// plan has all jobs of a run and its time.
type plan struct {
	jobs []*job
	end  time.Time // no job that will probably take longer is started
	most int       // largest number of rounds, 0: as many as there is time for
	tell func(Progress)
	now  func() time.Time

	rounds int    // that have begun
	ended  string // why it ended before all was measured, "" if all was
}

// run makes rounds until the time is over, or ctx is done. The first round always begins; jobs that
// do not fit into it are reported as without time.
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

// due returns the jobs of a round.
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

// round runs each job once; it returns false if the run ends with it.
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

// do runs a job. A job that fails before it has had a figure is not run again.
func (p *plan) do(ctx context.Context, j *job, round int) {
	start := p.now()
	err := j.run(ctx, round)
	j.took = p.now().Sub(start)
	switch {
	case err == nil:
		j.ran++
	case ctx.Err() != nil: // that is the reason
	default:
		j.dead = j.ran == 0
		j.fail(reason(err))
	}
}

// stop records why the run ends, and which figures are missing because of that.
func (p *plan) stop(why string, undone []*job) {
	p.ended = why
	for _, j := range undone {
		if j.ran == 0 && !j.dead {
			j.fail("no time: " + why)
		}
	}
}

// left estimates the number of rounds, and the time until the run ends: the rest of this round, and
// as many more rounds as fit. During the first round the number is not known.
func (p *plan) left(round int, rest []*job, end time.Time, most int) (rounds int, left time.Duration) {
	left = total(rest)
	rounds = round + 1
	if round == 0 && most > 1 {
		return 0, max(end.Sub(p.now()), 0) // the run will use its time
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
