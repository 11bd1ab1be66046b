// Package printer writes what a session tells of (calls, lives of processes) as lines, of text
// or JSON; the values of a call are those that the LOCATION asks for.
package printer

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/printable"
	"github.com/ptracer/ptracer/procfs"
)

// Printer writes events as lines. It is used by one goroutine.
type Printer struct {
	w       io.Writer
	Shows   []Values // by probe, in the order of registration
	json    bool
	verbose bool
	comm    map[int]string // names of processes, as they were when first seen
}

// New is a printer; verbose is to tell of lives of processes, too.
func New(w io.Writer, asJSON, verbose bool) *Printer {
	return &Printer{w: w, json: asJSON, verbose: verbose, comm: map[int]string{}}
}

// Line is an event in JSON.
type Line struct {
	Time   string  `json:"time"`
	Event  string  `json:"event"`
	PID    int     `json:"pid,omitempty"`
	TID    int     `json:"tid,omitempty"`
	Comm   string  `json:"comm,omitempty"`
	Probe  string  `json:"probe,omitempty"`
	Args   *[]any  `json:"args,omitempty"`
	Result any     `json:"result,omitempty"`
	Child  int     `json:"child,omitempty"`
	Path   string  `json:"path,omitempty"`
	Status *int    `json:"status,omitempty"`
	Signal int     `json:"signal,omitempty"`
	Missed *uint64 `json:"missed,omitempty"`
}

// Print writes one event, if it is one that is asked for. Errors of the writer
// are its own business.
func (p *Printer) Print(e *event.Event) {
	name := p.name(e)
	what, ok := p.describe(e)
	if !ok {
		return
	}
	at := engine.Wall(e.Time)
	if e.Kind() == event.KindDropped { // it is told when there is room again, and by the clock of no task
		at = time.Now()
	}
	if p.json {
		l := p.object(e)
		l.Time, l.Comm = at.Format(time.RFC3339Nano), name
		if b, err := json.Marshal(l); err == nil {
			_, _ = p.w.Write(append(b, '\n'))
		}
		return
	}
	stamp := at.Format("15:04:05.000000")
	if e.PID == 0 {
		_ = printable.Printf(p.w, "%s %s", stamp, what)
		return
	}
	_ = printable.Printf(p.w, "%s %d/%d %s %s", stamp, e.PID, e.TID, printable.Name(name), what)
}

// describe is what happened, in words; not ok is what is not to be told.
func (p *Printer) describe(e *event.Event) (what string, ok bool) {
	switch b := e.Body.(type) {
	case *event.Hit:
		return p.call(b), true
	case *event.Dropped:
		return fmt.Sprintf("... %s not shown: output was slower", show.Plural(int(b.Count), "event")), true
	case *event.Fork:
		return fmt.Sprintf("-- new process %d", b.Child), p.verbose
	case *event.Clone:
		return fmt.Sprintf("-- new thread %d", b.Child), p.verbose
	case *event.Exec:
		return "-- executes " + printable.Name(b.Path), p.verbose
	case *event.Exit:
		if b.Signal != 0 {
			return fmt.Sprintf("-- killed by signal %d (%v)", b.Signal, syscall.Signal(b.Signal)), p.verbose
		}
		return fmt.Sprintf("-- exits with status %d", b.Status), p.verbose
	}
	return "", false
}

// call is a hit in words: the place, with its arguments or its result.
func (p *Printer) call(h *event.Hit) string {
	sh, at := p.show(h), printable.Name(h.Location)
	values := plain(sh.of(h))
	switch {
	case sh.line && len(sh.values) == 0:
		return at
	case !sh.result:
		return at + "(" + values + ")"
	case values != "":
		return at + " = " + values
	case len(sh.values) == 0:
		return at
	case h.Calls == arch.GoStack || h.Calls == arch.NotKnown:
		return at + " = ?"
	}
	return at + " = ? (tail call)" // the engine has none to give there
}

func (p *Printer) object(e *event.Event) Line {
	l := Line{Event: e.Kind().String(), PID: e.PID, TID: e.TID}
	switch b := e.Body.(type) {
	case *event.Hit:
		p.values(&l, b)
	case *event.Dropped:
		l.Missed = &b.Count
	case *event.Fork:
		l.Child = b.Child
	case *event.Clone:
		l.Child = b.Child
	case *event.Exec:
		l.Path = b.Path
	case *event.Exit:
		l.Signal = b.Signal
		if b.Signal == 0 {
			l.Status = &b.Status
		}
	}
	return l
}

// values gives a line a hit's place, and its arguments or its result.
func (p *Printer) values(l *Line, h *event.Hit) {
	l.Probe = h.Location
	sh := p.show(h)
	values := sh.of(h)
	switch {
	case !sh.result:
		l.Args = &values
	case len(values) == 1:
		l.Result = values[0]
	case len(values) > 1:
		l.Result = values
	}
}

// show is how a probe's hits are shown. Probes are numbered as they were
// registered, from 1, and those of the verb come first.
func (p *Printer) show(h *event.Hit) *Values {
	if i := int(h.Probe) - 1; i >= 0 && i < len(p.Shows) {
		return &p.Shows[i]
	}
	return &Values{}
}

// name is the name of an event's process. A process that has ended before it
// was asked keeps the name of its parent or of its program.
func (p *Printer) name(e *event.Event) string {
	if e.PID == 0 {
		return ""
	}
	switch b := e.Body.(type) {
	case *event.Fork:
		if b.Child != 0 {
			p.comm[b.Child] = p.lookup(e.PID)
		}
	case *event.Exec:
		base := filepath.Base(b.Path)
		p.comm[e.PID] = base[:min(len(base), 15)] // TASK_COMM_LEN of sched.h
	}
	name := p.lookup(e.PID)
	if e.Kind() == event.KindExit {
		delete(p.comm, e.PID)
	}
	return name
}

func (p *Printer) lookup(pid int) string {
	name, ok := p.comm[pid]
	if !ok {
		b, err := os.ReadFile(procfs.Path(pid, "comm"))
		if name = strings.TrimSpace(string(b)); err != nil {
			name = "?"
		}
		p.comm[pid] = name
	}
	return name
}
