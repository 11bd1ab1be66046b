package truth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Answer is what ptracer said: its result, a JSON object a line, and what it told
// beside it on standard error.
type Answer struct {
	Lines []Line
	Said  string
}

// Line is a line of any verb's result.
type Line struct {
	Event  string            `json:"event"`
	Probe  string            `json:"probe"`
	PID    int               `json:"pid"`
	TID    int               `json:"tid"`
	Hits   uint64            `json:"hits"`
	Unread uint64            `json:"unread"` // hits that a condition could not be told of
	Rung   string            `json:"method"`
	Took   uint64            `json:"took_ns"`
	Result json.RawMessage   `json:"result"`
	Args   []json.RawMessage `json:"args"`
	Fields json.RawMessage   `json:"fields"`
	Frames []struct {
		Function string `json:"function"`
	} `json:"frames"`
}

// Read reads ptracer's result. Life events, which trace -v has among its lines, are
// left out.
func Read(output, said string) (*Answer, error) {
	a := &Answer{Said: said}
	for text := range strings.Lines(output) {
		var l Line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		if l.Event == "" || l.Event == "hit" || l.Event == "missed" {
			a.Lines = append(a.Lines, l)
		}
	}
	return a, nil
}

// served is what ptracer says with -v of how places are served.
var served = regexp.MustCompile(`(?m)^ptracer: .*: \d+ places?: (\d+ by .*)$`)

// Rungs are the rungs that ptracer says its places are served by, each once.
func (a *Answer) Rungs() (rungs []string) {
	for _, m := range served.FindAllStringSubmatch(a.Said, -1) {
		for part := range strings.SplitSeq(m[1], ", ") {
			_, rung, _ := strings.Cut(part, " by ")
			rungs = append(rungs, rung)
		}
	}
	for _, l := range a.Lines {
		if l.Rung != "" { // several where the places of a line differ
			rungs = append(rungs, strings.Split(l.Rung, ",")...)
		}
	}
	slices.Sort(rungs)
	return slices.Compact(rungs)
}

// numbers are the results of handlers that have one.
type numbers struct {
	Count   uint64      `json:"count"`
	Sum     json.Number `json:"sum"`
	Min     json.Number `json:"min"`
	Max     json.Number `json:"max"`
	Under   uint64      `json:"under"`
	Over    uint64      `json:"over"`
	Lost    uint64      `json:"lost"`
	Orphans uint64      `json:"orphans"` // exits without a known entry
	Buckets []bucket    `json:"buckets"`
	times
}

// times are what the numbers are called that are times.
type times struct {
	SumNS json.Number `json:"sum_ns"`
	MinNS json.Number `json:"min_ns"`
	MaxNS json.Number `json:"max_ns"`
}

type bucket struct {
	Lo    json.Number `json:"lo"`
	Hi    json.Number `json:"hi"`
	Count uint64      `json:"count"`
}

// line is that of a handler: there is one.
func (a *Answer) line() (l Line, err error) {
	if len(a.Lines) != 1 {
		return l, fmt.Errorf("%d lines of result, wanted one", len(a.Lines))
	}
	return a.Lines[0], nil
}

// one is the result of a handler.
func (a *Answer) one() (n numbers, err error) {
	l, err := a.line()
	if err != nil {
		return n, err
	}
	d := json.NewDecoder(bytes.NewReader(l.Result))
	d.UseNumber()
	return n, d.Decode(&n)
}

// differ is an error that says what was wanted and got, nil if they are the same.
func differ(what string, got, want any) error {
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		return fmt.Errorf("%s: wanted %s, got %s", what, w, g)
	}
	return nil
}
