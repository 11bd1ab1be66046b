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

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/printable"
)

func newRun() *cobra.Command {
	var opt options
	var g guards
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
				return usage("no FILE.o given: name an object file with eBPF programs")
			}
			programs, err := loadObject(args[0])
			if err != nil {
				return err
			}
			opt.split(cmd, args)
			places, err := programsAt(programs, opt.locations[1:])
			if err != nil {
				return err
			}
			opt.locations = nil
			for _, p := range places {
				opt.locations = append(opt.locations, p.location)
			}
			if err := opt.check(); err != nil {
				return err
			}
			return runFile(&opt, &g, places, open, cmd.ErrOrStderr())
		}),
	}
	opt.bindRun(cmd)
	g.bind(cmd)
	opt.bind(cmd)
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
			return nil, usage("%s: SEC(%s) does not say where it runs: give a LOCATION", p.Name, p.Section)
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
func runFile(opt *options, g *guards, places []programAt, open opener, stderr io.Writer) error {
	out, err := openOutput(opt.output, stderr)
	if err != nil {
		return err
	}
	life := lifePrinter(opt, stderr)
	specs := make([]engine.ProbeSpec, len(places))
	for i, p := range places {
		specs[i] = engine.ProbeSpec{Location: p.location}
	}
	j, err := newJob(opt, stderr, specs, func(e *event.Event) {
		if e.Kind == event.Print {
			writePrinted(out, e, opt.json)
			return
		}
		life(e)
	})
	if err != nil {
		return errors.Join(err, out.close())
	}
	h := &handling{job: j}
	names := placeNames{}
	rd := newReaders(func(h *handling, i int, rec []byte) { writeRaw(out, names.shown(h.job, i, 0), rec, opt.json) })
	j.limited(g.params(), func() []engine.Handler { return h.handlers })
	j.ready = func(s engine.Session) error {
		err := h.openFile(s, g, places)
		rd.begin(h)
		return err
	}
	if err := j.start(open); err != nil {
		rd.end()
		err = errors.Join(err, h.close())
		return errors.Join(err, out.close())
	}
	why := h.wait(out, latency, out.flush)
	return h.finish(why, out, func() error {
		rd.end()
		return h.writeMaps(out)
	})
}

// openFile opens the handlers of an object file: all use the maps of the first.
func (h *handling) openFile(s engine.Session, g *guards, places []programAt) error {
	for i, p := range places {
		spec := engine.HandlerSpec{Handler: p.handler, Where: g.where.Where}
		spec.Params.Guards = g.params()
		if i > 0 {
			spec.Share = h.handlers[0]
		}
		x, err := s.OpenHandler(spec)
		if err != nil {
			return err
		}
		h.handlers, h.lost = append(h.handlers, x), append(h.lost, 0)
		h.probes[i].spec.Handler = x
	}
	return nil
}

// writeMaps writes the contents of the maps that all share.
func (h *handling) writeMaps(w io.Writer) error {
	r, err := h.handlers[0].Result()
	if err != nil {
		return err
	}
	if d, ok := r.(build.Dump); ok && h.opt.json {
		return writeJSON(w, d)
	}
	return r.Text(w, 80)
}

type printedLine struct {
	PID   int    `json:"pid"`
	TID   int    `json:"tid"`
	Probe string `json:"probe"`
	Print string `json:"print"`
}

func writePrinted(w io.Writer, e *event.Event, asJSON bool) {
	if asJSON {
		_ = writeJSON(w, []printedLine{{e.PID, e.TID, e.Location, e.Text}})
		return
	}
	_ = printable.Printf(w, "%s %d/%d %s: %s", engine.Wall(e.Time).Format("15:04:05.000000"), e.PID, e.TID, printable.Name(e.Location), e.Text)
}

type rawLine struct {
	Probe  string `json:"probe"`
	Record string `json:"record"`
}

// writeRaw writes a record of which nobody knows more.
func writeRaw(w io.Writer, location string, rec []byte, asJSON bool) {
	text := hex.EncodeToString(rec)
	if asJSON {
		_ = writeJSON(w, []rawLine{{location, text}})
		return
	}
	_ = printable.Printf(w, "%s record %s", printable.Name(location), text)
}
