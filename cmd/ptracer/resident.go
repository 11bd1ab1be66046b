package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/printable"
	"github.com/ptracer/ptracer/symbols/location"
)

// leave lets the process go with its probes in it, and says what stays.
func (j *job) leave(out *output) error {
	err := j.sess.Leave()
	<-j.drained
	places := j.distinct()
	stay := 0
	for i := range places {
		if places[i].Err == nil {
			stay++
		}
	}
	if j.opt.json {
		err = errors.Join(err, writeJSON(out, residentLines(places)))
	} else if err == nil {
		j.tellLeft(places, stay)
	}
	return errors.Join(err, out.close())
}

// residentLine is what has become of a place.
type residentLine struct {
	Probe    string `json:"probe"`
	PID      int    `json:"pid"`
	Resident bool   `json:"resident"`
	Error    string `json:"error,omitempty"`
}

func residentLines(places []onePlace) (lines []residentLine) {
	for i := range places {
		l := residentLine{Probe: places[i].Name, PID: places[i].PID, Resident: places[i].Err == nil}
		if !l.Resident {
			l.Error = places[i].Err.Error()
		}
		lines = append(lines, l)
	}
	return lines
}

// maxGone is how many places that could not stay are told.
const maxGone = 10

func (j *job) tellLeft(places []onePlace, stay int) {
	pid, gone := j.opt.pids[0], len(places)-stay
	for i, told := 0, 0; i < len(places) && told < maxGone; i++ {
		if places[i].Err != nil {
			told++
			j.say("%s: %v", places[i].Name, places[i].Err)
		}
	}
	if gone > maxGone {
		j.say("and %d more; 'ptracer probes --summary' says why", gone-maxGone)
	}
	of := plural(stay, "place")
	if gone > 0 {
		of = fmt.Sprintf("%d of %s", stay, plural(len(places), "place"))
	}
	j.say("%s in %d stay without a tracer: 'ptracer read %d' prints what they count, 'ptracer stop %d' takes them out", of, pid, pid, pid)
}

// checkResident checks what --resident goes together with.
func (o *options) checkResident() error {
	switch {
	case !o.resident:
		return nil
	case len(o.pids) != 1:
		return usage("--resident is for one running process: give one -p PID")
	case o.follow:
		return usage("--resident with -f: children that are forked count with their parent, others can't be followed without a tracer")
	case o.duration != 0:
		return usage("--resident with -d: it ends when you say 'ptracer stop %d'", o.pids[0])
	}
	return nil
}

func newRead() *cobra.Command {
	var output string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "read [PID]",
		Short: "Tell what resident probes have found out, or in which processes there are any",
		Long: `Tell what probes have found out so far that were left in a process with
--resident. No tracer is attached meanwhile, and the process does not notice. What was found
out can be read after the process has ended, too, until 'ptracer stop' collects
it. Without a PID the processes are listed.

Before a debugger sets breakpoints in the process, 'ptracer stop' takes the probes
out: a breakpoint in the middle of one, where gdb's break FUNCTION may lie, ends
the program.

With --json: for each place {"probe","pid","hits","method","seconds"}, for each
handler {"probe","result","seconds"}, or with "hits" where it only counts; of the
list {"pid","comm","planted","running","places"}.`,
		Example: `  ptracer count -p 1234 --resident 'libc:malloc'
  ptracer read
  ptracer read 1234
  ptracer stop 1234`,
		Args: cobra.MaximumNArgs(1),
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			return withOutput(output, cmd.OutOrStdout(), func(w io.Writer) error {
				if len(args) == 0 {
					return listResidents(w, asJSON)
				}
				r, err := residentOf(args[0])
				if err != nil {
					return err
				}
				var seconds float64
				if r.Running() {
					seconds = time.Since(r.Planted).Seconds()
				}
				return writeResident(w, r, seconds, asJSON)
			})
		}),
	}
	bindRead(cmd, &output, &asJSON)
	return cmd
}

func newStop() *cobra.Command {
	var output string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stop PID",
		Short: "Take resident probes out of a process, and tell what they have found out",
		Long: `Take the probes out of a process that were left in it with --resident: its
code is then as it was, and nothing of ptracer's is left in it. What they have found
out is told for the last time. It does the same for what a tracer has left that
was killed; and of a process that has ended it collects the results.

With --json the same objects as of 'ptracer read'.`,
		Example: `  ptracer stop 1234`,
		Args:    cobra.ExactArgs(1),
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			return withOutput(output, cmd.OutOrStdout(), func(w io.Writer) error { return stopResident(w, args[0], asJSON) })
		}),
	}
	bindRead(cmd, &output, &asJSON)
	return cmd
}

func bindRead(cmd *cobra.Command, output *string, asJSON *bool) {
	f := cmd.Flags()
	f.SortFlags = false
	bindOutput(f, output, true)
	f.BoolVar(asJSON, "json", false, "write one JSON object a line")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
}

// withOutput writes into a file or to standard output: no program writes beside it.
func withOutput(path string, stdout io.Writer, write func(io.Writer) error) error {
	out, err := openOutput(path, stdout)
	if err != nil {
		return err
	}
	err = write(out)
	return errors.Join(err, out.close())
}

func parsePID(text string) (int, error) {
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 {
		return 0, usage("%s: not a process id", text)
	}
	return pid, nil
}

func residentOf(text string) (*engine.Resident, error) {
	pid, err := parsePID(text)
	if err != nil {
		return nil, err
	}
	return engine.OpenResident(pid)
}

// signalWait is how long a signal handler may take that has interrupted code of
// ours.
const signalWait = 5 * time.Second

// stopResident takes probes out of a process; of one that has none of those that
// were left on purpose, what somebody has left who was killed.
func stopResident(w io.Writer, text string, asJSON bool) error {
	pid, err := parsePID(text)
	if err != nil {
		return err
	}
	r, err := engine.OpenResident(pid)
	if errors.Is(err, engine.ErrNotResident) {
		found, err2 := engine.Clean(pid)
		if found || err2 != nil {
			return err2
		}
	}
	if err != nil {
		return err
	}
	var seconds float64
	if r.Running() {
		seconds = time.Since(r.Planted).Seconds()
	}
	if err := r.Stop(signalWait); err != nil {
		return err
	}
	if err := writeResident(w, r, seconds, asJSON); err != nil {
		return err // what it has found out can be read again
	}
	return r.Collect()
}

// writeResident writes what was found out, in seconds (0: not known): a table of the
// places, and what handlers say.
func writeResident(w io.Writer, r *engine.Resident, seconds float64, asJSON bool) error {
	places, err := r.Placements()
	if err != nil {
		return err
	}
	results, err := r.Results()
	if err != nil {
		return err
	}
	handled := map[string]bool{}
	for _, x := range results {
		handled[x.Location] = true
	}
	locations := r.Locations()
	var counted []engine.Placement
	for _, pl := range places {
		if !handled[locations[pl.Probe-1]] {
			counted = append(counted, pl)
		}
	}
	t := tally{seconds: seconds}
	t.rows = rowsOf(counted, asJSON, func(pl *engine.Placement) bool { return isNamed(locations[pl.Probe-1]) })
	t.uncounted, err = r.Uncounted()
	if asJSON {
		err = errors.Join(err, writeJSON(w, t.objects()))
		return errors.Join(err, writeResultLines(w, results, namesOf(locations, places), &t))
	}
	if len(t.rows) > 0 {
		err = errors.Join(err, printable.Write(w, t.table()...))
	}
	missing := gapsOf(places)
	if t.uncounted > 0 {
		missing = append(missing, fmt.Sprintf(uncounted, t.uncounted))
	}
	err = errors.Join(err, printable.Write(w, missing...))
	return errors.Join(err, writeResults(w, results, &t))
}

// uncounted tells of hits that are nowhere.
const uncounted = "%d hits are in no count: of threads that share their thread pointer, or were more than can be told apart"

func isNamed(text string) bool {
	loc, err := location.Parse(text)
	return err == nil && !loc.IsPattern()
}

// namesOf gives the name of each location's places, as placeName does.
func namesOf(locations []string, places []engine.Placement) map[string]string {
	of := map[string][]string{}
	for _, pl := range places {
		l := locations[pl.Probe-1]
		of[l] = append(of[l], pl.Name)
	}
	names := map[string]string{}
	for _, l := range locations {
		names[l] = l
		if loc, err := location.Parse(l); err == nil {
			names[l] = cmp.Or(loc.PlaceName(of[l]), l)
		}
	}
	return names
}

// writeResultLines writes what handlers say as JSON; names are those of their locations.
func writeResultLines(w io.Writer, results []engine.ResidentResult, names map[string]string, t *tally) error {
	for _, x := range results {
		l := resultLine{Probe: names[x.Location], Seconds: t.seconds, Uncounted: t.uncounted}
		if err := writeResult(w, l, x.Result); err != nil {
			return err
		}
	}
	return nil
}

func writeResults(w io.Writer, results []engine.ResidentResult, t *tally) error {
	for _, x := range results {
		if len(results) > 1 {
			if err := printable.Write(w, printable.Name(x.Location)); err != nil {
				return err
			}
		}
		if err := x.Result.Text(w, 80); err != nil {
			return err
		}
	}
	if len(results) == 0 || t.seconds == 0 {
		return nil
	}
	return printable.Write(w, in("counted", t.seconds))
}

// residentProcess is a line of the list.
type residentProcess struct {
	PID     int       `json:"pid"`
	Comm    string    `json:"comm"`
	Planted time.Time `json:"planted"`
	Running bool      `json:"running"`
	Places  int       `json:"places"`
}

func listResidents(w io.Writer, asJSON bool) error {
	list, err := engine.Residents()
	var lines []residentProcess
	for _, r := range list {
		lines = append(lines, residentProcess{r.PID, r.Command, r.Planted, r.Running(), r.Places()})
	}
	return errors.Join(err, writeList(w, lines, asJSON))
}

// writeList writes in which processes there are resident probes.
func writeList(w io.Writer, lines []residentProcess, asJSON bool) error {
	if asJSON {
		return writeJSON(w, lines)
	}
	if len(lines) == 0 {
		return printable.Write(w, "no resident probes in any process")
	}
	cells := [][]string{{"PID", "COMMAND", "PLANTED", "PLACES", "STATE"}}
	for _, l := range lines {
		cells = append(cells, []string{strconv.Itoa(l.PID), l.Comm, l.Planted.Local().Format(time.DateTime),
			strconv.Itoa(l.Places), map[bool]string{true: "running", false: "ended"}[l.Running]})
	}
	return writeTable(w, cells, 0)
}
