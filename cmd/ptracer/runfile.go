package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/printable"
)

func newRun() *cobra.Command {
	var opt flags.Options
	var g flags.Guards
	cmd := &cobra.Command{
		Use:   "run [-p PID]... [flags] FILE.o [LOCATION]... [-- COMMAND [ARG]...]",
		Short: "Run the programs of an eBPF object file at the functions that they name",
		Long: `Run programs of an object file (clang -target bpf), as they are written for
uprobes. Each runs where its section says, SEC("uprobe/libc:malloc") or
SEC("uretprobe/..."); given LOCATIONs, all that name none run there. What they
print (bpf_trace_printk, bpf_printk) and the records of their first ring are
shown as they come; the maps' contents are written at the end. In the kernel
(--where kernel) prints go to its trace pipe instead.`,
		Example: `  ptracer run probe.o -- ls -l /
  ptracer run -p 1234 -d 10s --json probe.o 'libc:malloc'`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || cmd.ArgsLenAtDash() == 0 {
				return exit.Usage("no FILE.o given: name an object file with eBPF programs")
			}
			programs, err := loadObject(args[0])
			if err != nil {
				return err
			}
			opt.Split(cmd, args)
			places, err := programsAt(programs, opt.Locations[1:])
			if err != nil {
				return err
			}
			opt.Locations = nil
			for _, p := range places {
				opt.Locations = append(opt.Locations, p.location)
			}
			if err := opt.Check(); err != nil {
				return err
			}
			return runFile(&opt, &g, places, job.Open, cmd.ErrOrStderr())
		}),
	}
	opt.BindRun(cmd)
	g.Bind(cmd)
	opt.Bind(cmd)
	return cmd
}

// programAt is a handler for one location.
type programAt struct {
	location string
	handler  *build.Handler
}

// programsAt says where the programs of an object file run. A location's entry
// and exit are one handler; all of the file have the same maps.
func programsAt(programs []*program.Program, given []string) (list []programAt, err error) {
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	put := func(location string, at build.Point, p *program.Program) {
		for i := range list {
			if list[i].location == location && list[i].handler.At(at) == nil {
				if list[i].handler.Name += "+" + p.Name; at == build.Exit {
					list[i].handler.Exit = p
				} else {
					list[i].handler.Entry = p
				}
				return
			}
		}
		list = append(list, programAt{location, build.One(at, p, ctx)})
	}
	for _, p := range programs {
		place, ok := p.Place()
		at := build.Entry
		if place.Return {
			at = build.Exit
		}
		switch {
		case ok && place.Kernel:
			return nil, fmt.Errorf("%s: SEC(%s) is about the kernel: only functions of programs can be probed", p.Name, p.Section)
		case ok && place.Func != "":
			put(locationOf(place), at, p)
		case len(given) == 0:
			return nil, exit.Usage("%s: SEC(%s) does not say where it runs: give a LOCATION", p.Name, p.Section)
		default:
			for _, l := range given {
				base, exit := strings.CutSuffix(l, "%return")
				if exit {
					at = build.Exit
				}
				put(base, at, p)
			}
		}
	}
	return list, nil
}

func locationOf(at program.Place) string {
	location := at.Func
	if at.Offset != 0 {
		location = fmt.Sprintf("%s+%#x", location, at.Offset)
	}
	if at.Path != "" {
		location = filepath.Base(at.Path) + ":" + location
	}
	return location
}

// runFile runs an object file's programs until the job is over.
func runFile(opt *flags.Options, g *flags.Guards, places []programAt, open job.Opener, stderr io.Writer) error {
	out, err := show.OpenOutput(opt.Output, stderr)
	if err != nil {
		return err
	}
	life := job.LifePrinter(opt, stderr)
	specs := make([]engine.ProbeSpec, len(places))
	for i, p := range places {
		specs[i] = engine.ProbeSpec{Location: p.location}
	}
	j, err := job.New(opt, stderr, specs, func(e *event.Event) {
		if b, ok := e.Body.(*event.Print); ok {
			writePrinted(out, e, b, opt.JSON)
			return
		}
		life(e)
	})
	if err != nil {
		return errors.Join(err, out.Close())
	}
	h := &job.Handling{Job: j}
	names := job.PlaceNames{}
	rd := job.NewReaders(func(h *job.Handling, i int, rec []byte) { writeRaw(out, names.Shown(h.Job, i, 0), rec, opt.JSON) })
	j.Limited(g.Params(), func() []engine.Handler { return h.Handlers })
	j.Ready = func(s engine.Session) error {
		err := openFile(h, s, g, places)
		rd.Begin(h)
		return err
	}
	if err := j.Start(open); err != nil {
		rd.End()
		err = errors.Join(err, h.Close())
		return errors.Join(err, out.Close())
	}
	why := h.Wait(out, job.Latency, out.Flush)
	return h.Finish(why, out, func() error {
		rd.End()
		return writeMaps(h, out)
	})
}

// openFile opens the handlers of an object file: all use the maps of the first.
func openFile(h *job.Handling, s engine.Session, g *flags.Guards, places []programAt) error {
	for i, p := range places {
		spec := engine.HandlerSpec{Handler: p.handler, Where: g.Where.Where}
		spec.Params.Guards = g.Params()
		if i > 0 {
			spec.Share = h.Handlers[0]
		}
		if err := h.Open(s, i, spec); err != nil {
			return err
		}
	}
	return nil
}

// writeMaps writes the contents of the maps that all share.
func writeMaps(h *job.Handling, w io.Writer) error {
	r, err := h.Handlers[0].Result()
	if err != nil {
		return err
	}
	if d, ok := r.(build.Dump); ok && h.Options.JSON {
		return show.WriteJSON(w, d)
	}
	return r.Text(w, 80)
}

type printedLine struct {
	PID   int    `json:"pid"`
	TID   int    `json:"tid"`
	Probe string `json:"probe"`
	Print string `json:"print"`
}

func writePrinted(w io.Writer, e *event.Event, b *event.Print, asJSON bool) {
	if asJSON {
		_ = show.WriteJSON(w, []printedLine{{e.PID, e.TID, b.Location, b.Text}})
		return
	}
	_ = printable.Printf(w, "%s %d/%d %s: %s", engine.Wall(e.Time).Format("15:04:05.000000"), e.PID, e.TID, printable.Name(b.Location), b.Text)
}

type rawLine struct {
	Probe  string `json:"probe"`
	Record string `json:"record"`
}

// writeRaw writes a record that no decoder knows.
func writeRaw(w io.Writer, location string, rec []byte, asJSON bool) {
	text := hex.EncodeToString(rec)
	if asJSON {
		_ = show.WriteJSON(w, []rawLine{{location, text}})
		return
	}
	_ = printable.Printf(w, "%s record %s", printable.Name(location), text)
}
