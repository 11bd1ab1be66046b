package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols/location"
)

// job is one run of a verb that traces: a session, the probes in it, and what
// may end it. Its events are handled on a goroutine of its own.
type job struct {
	opt     *options
	stderr  io.Writer
	sess    engine.Session
	child   int // the process of the command; 0 with -p
	probes  []planted
	numbers sync.Mutex // of probes: the readers of records ask for them, too
	handle  func(*event.Event)
	entered chan event.Event // the command stands at its first own instruction
	drained chan struct{}    // closed when the last event has been handled
	signals chan os.Signal
	aside   bool                       // another tracer has had a process: see drained
	failed  bool                       // the session could not go on: see drained
	hinted  bool                       // the first Ctrl-C has been answered
	ready   func(engine.Session) error // before anything is planted; nil: nothing to do
	over    func() bool                // the limits of its handlers are reached; nil: there are none
	window  window
	before  func() // the window begins; nil: nothing to do
}

// planted is a probe that we asked for.
type planted struct {
	id   event.ProbeID
	spec engine.ProbeSpec
	loc  location.Location
}

// reason is why a job ended.
type reason int

const (
	allEnded     reason = iota // the processes are gone
	timeUp                     // -d
	limitReached               // --limit, --for
	asked                      // a signal
	broken                     // the output is not read any more
)

// opener starts or attaches what options name; tests have one of their own.
// child is the process of the command, 0 where there is none.
type opener func(context.Context, *options, engine.Options) (sess engine.Session, child int, err error)

// startJob attaches or starts, plants the probes, and lets a command run. What
// is known to be found nowhere is an error, before the command's own code runs.
func startJob(opt *options, open opener, stderr io.Writer, specs []engine.ProbeSpec, handle func(*event.Event)) (*job, error) {
	j, err := newJob(opt, stderr, specs, handle)
	if err != nil {
		return nil, err
	}
	if err := j.start(open); err != nil {
		return nil, err
	}
	return j, nil
}

// newJob is a job that has not begun.
func newJob(opt *options, stderr io.Writer, specs []engine.ProbeSpec, handle func(*event.Event)) (*job, error) {
	j := &job{opt: opt, stderr: stderr, handle: handle,
		entered: make(chan event.Event, 1), drained: make(chan struct{}), signals: catch()}
	for _, spec := range specs {
		loc, err := location.Parse(spec.Location)
		if err != nil {
			return nil, usage("%w", err)
		}
		spec.Rung, spec.Pending, spec.Held = opt.method.Rung, true, len(opt.command) == 0
		j.probes = append(j.probes, planted{spec: spec, loc: loc})
	}
	return j, nil
}

func (j *job) start(open opener) error {
	ctx, stop := untilSignal()
	defer stop()
	sess, child, err := open(ctx, j.opt, engine.Options{Follow: j.opt.follow, Life: true, Resident: j.opt.resident})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("a signal came before the program was traced: %w", err)
	}
	if err != nil {
		return err
	}
	j.sess, j.child = sess, child
	go j.consume()
	if j.ready != nil {
		err = j.ready(sess)
	}
	if err == nil {
		err = j.plant()
	}
	if err != nil && !errors.Is(err, engine.ErrEnded) { // an end is told as one
		_ = j.sess.Kill()
		<-j.drained
		return err
	}
	return nil
}

// open is the opener of the real thing.
func open(ctx context.Context, opt *options, eo engine.Options) (engine.Session, int, error) {
	if len(opt.command) > 0 {
		sess, err := engine.Start(ctx, engine.Command{Path: opt.command[0], Args: opt.command[1:],
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, eo)
		if err != nil {
			return nil, 0, startFailure(opt.command[0], err)
		}
		return sess, sess.Processes()[0], nil
	}
	sess, err := attach(ctx, opt, eo)
	if err != nil {
		return nil, 0, err
	}
	for _, pid := range opt.pids[1:] {
		if err := addProcess(sess, pid); err != nil {
			return nil, 0, errors.Join(err, sess.Detach())
		}
	}
	return sess, 0, nil
}

// catch takes the signals that end a job. One that was ignored when we came
// stays so (nohup), for us and for the command. SIGPIPE would end us in the
// middle of everything; caught, it is an error of a write.
func catch() chan os.Signal {
	c := make(chan os.Signal, 4)
	signal.Notify(c, endings()...)
	if !signal.Ignored(syscall.SIGPIPE) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	}
	return c
}

// endings are those of these signals; SIGKILL, which has no effect, for an empty list means all.
func endings() []os.Signal {
	return slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL}, signal.Ignored)
}

// untilSignal is a context that such a signal ends.
func untilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), endings()...)
}

// plant registers all probes and lets the command run.
func (j *job) plant() error {
	for i := range j.probes {
		id, err := j.sess.Register(j.probes[i].spec)
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
	if err := j.checkUnknown(); err != nil || j.opt.listing {
		return err
	}
	if err := j.sess.Resume(j.child); err != nil && !errors.Is(err, engine.ErrGone) {
		return err
	}
	return nil
}

// number notes a probe's number, which numberOf gives to any goroutine; 0: it has none yet.
func (j *job) number(i int, id event.ProbeID) {
	j.numbers.Lock()
	defer j.numbers.Unlock()
	j.probes[i].id = id
}

func (j *job) numberOf(i int) event.ProbeID {
	j.numbers.Lock()
	defer j.numbers.Unlock()
	return j.probes[i].id
}

// consume hands the session's events to the verb.
func (j *job) consume() {
	defer close(j.drained)
	for e := range j.sess.Events(context.Background()) {
		switch e.Kind {
		case event.Stopped:
			select {
			case j.entered <- e:
			default: // not ours: nobody else asks for stops
			}
		case event.Warning:
			j.say("warning: %s", e.Text)
		case event.Aside:
			j.aside = true
			j.say("process %d is let go for another tracer: %s", e.PID, e.Text)
		case event.Back:
			j.say("process %d is %s", e.PID, e.Text)
		case event.Failed:
			j.failed = true
			j.say("%s", e.Text)
		case event.Asked: // we need no control
		case event.Exit:
			j.window.exit = e.Time
			j.handle(&e)
		default:
			j.handle(&e)
		}
	}
}

func (j *job) say(format string, args ...any) { say(j.stderr, format, args...) }

// wait returns when the job is over; meanwhile it calls tick.
func (j *job) wait(out *output, every time.Duration, tick func()) reason {
	var up <-chan time.Time
	if j.opt.duration > 0 {
		up = time.After(j.opt.duration)
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
		case <-out.broken:
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
// command too, and it is for the command to end or not; a second one is for us.
func (j *job) endedBy(s os.Signal) bool {
	if s != os.Interrupt || j.child == 0 || j.hinted {
		return true
	}
	j.hinted = true
	return false
}

// conclude lets everything go, handles what has happened, writes the result,
// and gives the exit status as an error.
func (j *job) conclude(why reason, out *output, result func() error) error {
	j.finish(why)
	err := j.sess.Detach()
	<-j.drained
	_ = j.sess.Stats() // whether there are still answers
	if lost := j.lost(); lost != nil {
		return errors.Join(lost, out.close())
	}
	unknown := j.tellUnknown()
	var unwritten error
	if why != broken && unknown == nil {
		let := out.hold()
		unwritten = result()
		lost := j.lost() // meanwhile: what was read may be none
		if let(lost == nil); lost != nil {
			return errors.Join(lost, out.close())
		}
	}
	unwritten = errors.Join(unwritten, out.close())
	j.tellFailed()
	j.tellGaps()
	j.tellMethods()
	if n := j.sess.Stats().Uncounted; n > 0 {
		j.say(uncounted, n)
	}
	status := j.status(why)
	if status == nil && j.failed {
		status = &commandEnded{statusFailed}
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
func (j *job) lost() error {
	if !j.serverGone() {
		return nil
	}
	s := j.sess.(*client.Session)
	j.say("what was found out is lost: %v%s", s.Err(), lastWords(s.Socket()))
	return &commandEnded{statusFailed}
}

// serverGone reports whether the session was lost with its server.
func (j *job) serverGone() bool {
	s, shared := j.sess.(*client.Session)
	return shared && s.Err() != nil
}

// status is the command's exit status as an error, nil where there is none to
// tell: without a command, or when we were asked to leave it alone.
func (j *job) status(why reason) error {
	if j.child == 0 || why == asked || why == broken {
		return nil
	}
	e, ok := j.sess.Exit(j.child)
	if !ok {
		e, ok = j.awaitChild()
	}
	if !ok || e.Code() == 0 {
		return nil
	}
	return &commandEnded{e.Code()}
}

// awaitChild waits for a command that goes on untraced. It gives up when we
// are asked to end.
func (j *job) awaitChild() (engine.Exit, bool) {
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
