// Package job is one run of a verb that traces: it starts or attaches, plants probes or
// handlers, waits until the run is over, lets everything go, and says what there is to say
// beside the result.
package job

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/sharing"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols/location"
)

// Job is one run of a verb that traces: a session, the probes in it, and what
// may end it. Its events are handled on a goroutine of its own.
type Job struct {
	Options *flags.Options
	Session engine.Session
	Ready   func(engine.Session) error // before anything is planted; nil: nothing to do

	stderr  io.Writer
	child   int // the process of the command; 0 with -p
	probes  []planted
	numbers sync.Mutex // of probes: the readers of records ask for them, too
	handle  func(*event.Event)
	entered chan event.Event // the command stands at its first own instruction
	drained chan struct{}    // closed when the last event has been handled
	signals chan os.Signal
	lent    bool        // another tracer has had a process: see drained
	failed  bool        // the session could not go on: see drained
	hinted  bool        // the first Ctrl-C has been answered
	over    func() bool // the limits of its handlers are reached; nil: there are none
	window  window
	before  func() // the window begins; nil: nothing to do
}

// planted is a probe that the job asked for.
type planted struct {
	id   event.ProbeID
	spec engine.ProbeSpec
	loc  location.Location
}

// Reason is why a job ended.
type Reason int

const (
	allEnded     Reason = iota // the processes are gone
	timeUp                     // -d
	limitReached               // --limit, --for
	asked                      // a signal
	broken                     // the output is not read any more
)

// Opener starts or attaches what options name; tests have one of their own.
// child is the process of the command, 0 where there is none.
type Opener func(context.Context, *flags.Options, engine.Options) (sess engine.Session, child int, err error)

// Start attaches or starts, plants the probes, and lets a command run. What
// is known to be found nowhere is an error, before the command's own code runs.
func Start(opt *flags.Options, open Opener, stderr io.Writer, specs []engine.ProbeSpec, handle func(*event.Event)) (*Job, error) {
	j, err := New(opt, stderr, specs, handle)
	if err != nil {
		return nil, err
	}
	if err := j.Start(open); err != nil {
		return nil, err
	}
	return j, nil
}

// New is a job that has not begun.
func New(opt *flags.Options, stderr io.Writer, specs []engine.ProbeSpec, handle func(*event.Event)) (*Job, error) {
	j := &Job{Options: opt, stderr: stderr, handle: handle,
		entered: make(chan event.Event, 1), drained: make(chan struct{}), signals: exit.Signals()}
	for _, spec := range specs {
		loc, err := location.Parse(spec.Location)
		if err != nil {
			return nil, exit.Usage("%w", err)
		}
		spec.Rung, spec.Pending, spec.Held = opt.Method.Rung, true, len(opt.Command) == 0
		j.probes = append(j.probes, planted{spec: spec, loc: loc})
	}
	return j, nil
}

// Start attaches or starts, plants the probes, and lets a command run.
func (j *Job) Start(open Opener) error {
	ctx, stop := exit.UntilSignal()
	defer stop()
	sess, child, err := open(ctx, j.Options, engine.Options{Follow: j.Options.Follow, Life: true, Resident: j.Options.Resident})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("a signal came before the program was traced: %w", err)
	}
	if err != nil {
		return err
	}
	j.Session, j.child = sess, child
	go j.consume()
	if j.Ready != nil {
		err = j.Ready(sess)
	}
	if err == nil {
		err = j.plant()
	}
	if err != nil && !errors.Is(err, engine.ErrEnded) { // an end is told as one
		_ = j.Kill()
		return err
	}
	return nil
}

// Kill ends the session, and a command with it, and waits until all events have been handled.
func (j *Job) Kill() error {
	err := j.Session.Kill()
	<-j.drained
	return err
}

// plant registers all probes and lets the command run.
func (j *Job) plant() error {
	for i := range j.probes {
		id, err := j.Session.Register(j.probes[i].spec)
		if err != nil {
			return err
		}
		j.number(i, id)
	}
	if j.child == 0 {
		if err := j.checkUnknown(); err != nil {
			return err
		}
		if err := j.begin(); err != nil {
			return err
		}
		j.tellMethods()
		return nil
	}
	j.window.begin = engine.Now()
	if !j.toEntry() {
		return nil
	}
	if err := j.checkUnknown(); err != nil || j.Options.Listing {
		return err
	}
	if err := j.Session.Resume(j.child); err != nil && !errors.Is(err, engine.ErrGone) {
		return err
	}
	return nil
}

// number notes a probe's number, which numberOf gives to any goroutine; 0: it has none yet.
func (j *Job) number(i int, id event.ProbeID) {
	j.numbers.Lock()
	defer j.numbers.Unlock()
	j.probes[i].id = id
}

func (j *Job) numberOf(i int) event.ProbeID {
	j.numbers.Lock()
	defer j.numbers.Unlock()
	return j.probes[i].id
}

// consume hands the session's events to the verb.
func (j *Job) consume() {
	defer close(j.drained)
	for e := range j.Session.Events(context.Background()) {
		switch b := e.Body.(type) {
		case *event.Stopped:
			select {
			case j.entered <- e:
			default: // not of the job's probe: no other verb asks for stops
			}
		case *event.Warning:
			j.say("warning: %s", b.Text)
		case *event.Released:
			j.lent = true
			j.say("process %d is let go for another tracer: %s", e.PID, b.Text)
		case *event.Reattached:
			j.say("process %d is %s", e.PID, b.Text)
		case *event.Failed:
			j.failed = true
			j.say("%s", b.Text)
		case *event.ControlRequested: // a job needs no control
		case *event.Exit:
			j.window.exit = e.Time
			j.handle(&e)
		default:
			j.handle(&e)
		}
	}
}

func (j *Job) say(format string, args ...any) { show.Say(j.stderr, format, args...) }

// Wait returns when the job is over; meanwhile it calls tick.
func (j *Job) Wait(out *show.Output, every time.Duration, tick func()) Reason {
	var up <-chan time.Time
	if j.Options.Duration > 0 {
		up = time.After(j.Options.Duration)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var check <-chan time.Time
	if j.over != nil {
		t := time.NewTicker(limitCheck)
		defer t.Stop()
		check = t.C
	}
	for {
		select {
		case <-j.drained:
			return allEnded
		case <-up:
			return timeUp
		case s := <-j.signals:
			if j.endedBy(s) {
				return asked
			}
		case <-out.Broken:
			return broken
		case <-ticker.C:
			tick()
		case <-check:
			if j.over() {
				return limitReached
			}
		}
	}
}

// endedBy says whether a signal ends the job. A terminal's Ctrl-C goes to the
// command too, and it is for the command to end or not; a second one is for ptracer.
func (j *Job) endedBy(s os.Signal) bool {
	if s != os.Interrupt || j.child == 0 || j.hinted {
		return true
	}
	j.hinted = true
	return false
}

// Conclude lets everything go, handles what has happened, writes the result,
// and gives the exit status as an error.
func (j *Job) Conclude(why Reason, out *show.Output, result func() error) error {
	j.finish(why)
	err := j.Session.Detach()
	<-j.drained
	_ = j.Session.Stats() // whether there are still answers
	if lost := j.lost(); lost != nil {
		return errors.Join(lost, out.Close())
	}
	unknown := j.TellUnknown()
	var unwritten error
	if why != broken && unknown == nil {
		let := out.Hold()
		unwritten = result()
		lost := j.lost() // meanwhile: what was read may be none
		if let(lost == nil); lost != nil {
			return errors.Join(lost, out.Close())
		}
	}
	unwritten = errors.Join(unwritten, out.Close())
	j.tellFailed()
	j.tellGaps()
	j.tellMethods()
	if n := j.Session.Stats().Uncounted; n > 0 {
		j.say(tally.Uncounted, n)
	}
	status := j.status(why)
	if status == nil && j.failed {
		status = &exit.Ended{Status: exit.StatusFailed}
	}
	if status == nil || unwritten != nil { // a result that is lost counts for more than the command's status
		return errors.Join(err, unwritten, unknown)
	}
	if err != nil {
		j.say("%v", err)
	}
	return status
}

// lost is why what was found out can't be had any more: a server that is gone.
func (j *Job) lost() error {
	if !j.serverGone() {
		return nil
	}
	s := j.Session.(*client.Session)
	j.say("what was found out is lost: %v%s", s.Err(), sharing.LastWords(s.Socket()))
	return &exit.Ended{Status: exit.StatusFailed}
}

// serverGone reports whether the session was lost with its server.
func (j *Job) serverGone() bool {
	s, shared := j.Session.(*client.Session)
	return shared && s.Err() != nil
}

// status is the command's exit status as an error, nil where there is none to
// tell: without a command, or when a signal asked to leave it alone.
func (j *Job) status(why Reason) error {
	if j.child == 0 || why == asked || why == broken {
		return nil
	}
	e, ok := j.Session.Exit(j.child)
	if !ok {
		e, ok = j.awaitChild()
	}
	if !ok || e.Code() == 0 {
		return nil
	}
	return &exit.Ended{Status: e.Code()}
}

// awaitChild waits for a command that goes on untraced. It gives up when a signal asks
// the job to end.
func (j *Job) awaitChild() (engine.Exit, bool) {
	exit := make(chan engine.Exit, 1)
	go func() {
		defer close(exit)
		p, err := os.FindProcess(j.child)
		if err != nil {
			return
		}
		state, err := p.Wait()
		if err != nil {
			return
		}
		if ws, ok := state.Sys().(syscall.WaitStatus); ok {
			e := engine.Exit{Status: ws.ExitStatus()}
			if ws.Signaled() {
				e = engine.Exit{Signal: int(ws.Signal())}
			}
			exit <- e
		}
	}()
	for {
		select {
		case e, ok := <-exit:
			return e, ok
		case s := <-j.signals:
			if j.endedBy(s) {
				return engine.Exit{}, false
			}
		}
	}
}
