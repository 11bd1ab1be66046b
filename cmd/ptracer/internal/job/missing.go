package job

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/location"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// checkUnknown looks for locations that are nowhere now. It is an error unless
// they can still come: in a library or program that is named and not loaded. So it is
// where they may be in what could not be read.
func (j *Job) checkUnknown() error {
	unplaced, errs := j.split()
	for _, p := range unplaced {
		spec := p.spec
		spec.Pending = false
		id, err := j.Session.Register(spec)
		if err != nil && j.fetch(err) {
			if id, err = j.Session.Register(spec); err == nil {
				j.replace(p, id)
				continue
			}
		}
		switch {
		case err == nil: // it has come meanwhile: the pending one has it too
			_ = j.Session.Unregister(id)
		case !errors.Is(err, symbols.ErrNotFound):
			errs = append(errs, err)
		case p.loc.File != "" && p.loc.Binary == "":
			errs = append(errs, err)
		case p.loc.Binary == "":
			errs = append(errs, fmt.Errorf("%w (if it is to come later, name its library or program: 'LIB:%s')", err, spec.Location))
		default:
			is, unknown := j.loaded(p.loc)
			if is || unknown != nil {
				errs = append(errs, cmp.Or(unknown, err))
			} else if j.child == 0 {
				j.say("%s: %s is not loaded: waiting for it", spec.Location, p.loc.Binary)
			}
		}
	}
	return errors.Join(errs...)
}

// replace puts a probe that has places in the place of one that has none.
func (j *Job) replace(p planted, id event.ProbeID) {
	for i := range j.probes {
		if j.probes[i].id == p.id {
			_ = j.Session.Unregister(p.id)
			j.number(i, id)
			return
		}
	}
}

// split gives the probes that have not been planted anywhere, and says of which all places failed
// because something could not be read.
func (j *Job) split() (unplaced []planted, errs []error) {
	for _, p := range j.probes {
		places := j.Session.Placements(p.id)
		if len(places) == 0 {
			unplaced = append(unplaced, p)
		} else if !slices.ContainsFunc(places, func(pl engine.Placement) bool { return !errors.Is(pl.Err, objfile.ErrUnread) }) {
			errs = append(errs, fmt.Errorf("%s: %w", p.spec.Location, places[0].Err))
		}
	}
	return unplaced, errs
}

// loaded says whether a location's binary, named in full, is in a process: what
// is not found there will not be found later.
func (j *Job) loaded(loc location.Location) (is bool, err error) {
	if strings.ContainsAny(loc.Binary, "*?") {
		return false, nil
	}
	for _, pid := range j.Session.Processes() {
		maps, e := procfs.Maps(pid)
		if e != nil && !errors.Is(e, fs.ErrNotExist) && !errors.Is(e, syscall.ESRCH) {
			err = fmt.Errorf("%s: it is not known what is loaded: %w", loc.Binary, e)
		}
		for _, m := range maps {
			if m.Path != "" && loc.MatchesBinary(symbols.Module{Path: m.Path}) {
				return true, nil
			}
		}
	}
	return false, err
}

// errNothing is the result where no location was ever found.
var errNothing = errors.New("nothing was probed")

// TellUnknown says at the end which locations were never found. It is an error
// if that is all of them, unless they may be in what another tracer had.
func (j *Job) TellUnknown() error {
	list, _ := j.split()
	where := ""
	if j.lent {
		where = " while ptracer traced it"
	}
	for _, p := range list {
		j.say("%s: never found: no such function in what was loaded%s", p.spec.Location, where)
	}
	if len(list) == len(j.probes) && !j.lent {
		return errNothing
	}
	return nil
}

// tellMethods says how the places of each location are served, if that was asked for.
func (j *Job) tellMethods() {
	if !j.Options.Verbose {
		return
	}
	for _, p := range j.probes {
		count := map[string]int{}
		places := j.Session.Placements(p.id)
		for _, pl := range places {
			switch {
			case pl.Err != nil:
				count["none"]++
			case pl.Rung == breakpoint.Auto: // no method of ptracer's
				count["kernel"]++
			default:
				count[pl.Rung.String()]++
			}
		}
		var parts []string
		for _, method := range slices.Sorted(maps.Keys(count)) {
			parts = append(parts, fmt.Sprintf("%d by %s", count[method], method))
		}
		j.say("%s: %s: %s", p.spec.Location, show.Plural(len(places), "place"), strings.Join(parts, ", "))
	}
}

// tellFailed sums up the places that could not be probed, by reason.
func (j *Job) tellFailed() {
	count, first := map[string]int{}, map[string]string{}
	var order []string
	total := 0
	for _, p := range j.Distinct() {
		if p.Err == nil || errors.Is(p.Err, engine.ErrGone) { // what has ended meanwhile has no hits to miss
			continue
		}
		why := exit.Root(p.Err).Error()
		if count[why] == 0 {
			order = append(order, why)
			first[why] = p.Name
		}
		count[why]++
		total++
	}
	if total == 0 {
		return
	}
	parts := make([]string, len(order))
	for i, why := range order {
		parts[i] = fmt.Sprintf("%s (%d, first %s)", why, count[why], first[why])
	}
	j.say("%s could not be probed: %s", show.Plural(total, "place"), strings.Join(parts, "; "))
}

// tellGaps says of which places not all hits could be counted.
func (j *Job) tellGaps() {
	var places []engine.Placement
	for _, p := range j.Distinct() {
		places = append(places, p.Placement)
	}
	for _, line := range tally.GapsOf(places) {
		j.say("%s", line)
	}
}
