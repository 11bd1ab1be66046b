package truth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// checkCount is of count without conditions: its lines' sum.
func checkCount(_ *Question, calls []Call, a *Answer) error {
	hits := uint64(0)
	for _, l := range a.Lines {
		hits += l.Hits
	}
	return differ("hits", hits, len(calls))
}

// checkHits is of count with a condition.
func checkHits(_ *Question, calls []Call, a *Answer) error {
	l, err := a.line()
	return errors.Join(err, differ("hits", l.Hits, len(calls)), differ("unread", l.Unread, 0))
}

func checkHistogram(q *Question, calls []Call, a *Answer) error {
	n, err := a.one()
	if err != nil {
		return err
	}
	v := values[q.values[0]]
	var sum, least, most, under, over uint64
	counts := map[string]uint64{}
	for i := range calls {
		x := v.of(&calls[i])
		sum += x
		if i == 0 || v.less(x, least) {
			least = x
		}
		if i == 0 || v.less(most, x) {
			most = x
		}
		switch lo, hi, side := q.bucket(v, x); side {
		case -1:
			under++
		case 1:
			over++
		default:
			counts[lo+" to "+hi]++
		}
	}
	got := map[string]uint64{}
	for _, b := range n.Buckets {
		if b.Count > 0 {
			got[b.Lo.String()+" to "+b.Hi.String()] = b.Count
		}
	}
	return errors.Join(differ("count", n.Count, len(calls)), differ("sum", n.Sum, v.number(sum)), differ("min", n.Min, v.number(least)),
		differ("max", n.Max, v.number(most)), differ("below", n.Under, under), differ("above", n.Over, over), differ("buckets", got, counts))
}

// bucket is the bucket of x: its bounds, or on which side of all it is.
func (q *Question) bucket(v value, x uint64) (lo, hi string, side int) {
	if from, to, step := q.linear[0], q.linear[1], q.linear[2]; step != 0 {
		switch y := int64(x); {
		case y < from:
			return "", "", -1
		case y >= to:
			return "", "", 1
		default:
			low := from + (y-from)/step*step
			return fmt.Sprint(low), fmt.Sprint(low + step - 1), 0
		}
	}
	switch {
	case v.signed && int64(x) < 0:
		return "", "", -1
	case x == 0:
		return "0", "0", 0
	}
	low := uint64(1) << (bits.Len64(x) - 1)
	return v.number(low), v.number(low + (low - 1)), 0
}

// checkLatency holds the count against the calls and what else there is against the
// bounds that the program has measured. Of more threads than latency tells apart it may
// forget some: then it says how many exits had no entry.
func checkLatency(_ *Question, calls []Call, a *Answer) error {
	n, err := a.one()
	if err != nil {
		return err
	}
	var inner, outer, leastIn, leastOut, mostIn, mostOut uint64
	for i, c := range calls {
		inner, outer = inner+c.Inner, outer+c.Outer
		mostIn, mostOut = max(mostIn, c.Inner), max(mostOut, c.Outer)
		if i == 0 {
			leastIn, leastOut = c.Inner, c.Outer
		}
		leastIn, leastOut = min(leastIn, c.Inner), min(leastOut, c.Outer)
	}
	if n.Orphans > 0 && len(calls) >= crowd {
		return errors.Join(differ("count and exits without an entry", n.Count+n.Orphans, len(calls)), within("sum", n.SumNS, 0, outer))
	}
	return errors.Join(differ("count", n.Count, len(calls)), differ("calls without a pair", n.Lost, 0), differ("exits without an entry", n.Orphans, 0),
		within("sum", n.SumNS, inner, outer), within("min", n.MinNS, leastIn, leastOut), within("max", n.MaxNS, mostIn, mostOut))
}

func within(what string, got json.Number, lo, hi uint64) error {
	n, err := got.Int64()
	if err != nil || n < int64(lo) || n > int64(hi) {
		return fmt.Errorf("%s: wanted %d to %d, got %s", what, lo, hi, got)
	}
	return nil
}

// noRoom is what is said of stacks that are in no count.
var noRoom = regexp.MustCompile(`stacks not noted: (\d+) \(no room\)`)

// notNoted is how many stacks are said to be in no count.
func notNoted(a *Answer) (n uint64) {
	for _, m := range noRoom.FindAllStringSubmatch(a.Said, -1) {
		k, _ := strconv.ParseUint(m[1], 10, 64)
		n += k
	}
	return n
}

// checkStacks is of the stacks' sum, and of what is innermost in each. The kernel has one place for
// all stacks of a hash, and keeps the first of two (bpf_get_stackid): with 4096 places some dozen stacks have two that
// meet in one run of a hundred. What is said not to be noted counts; CheckMethod refuses it of others.
func checkStacks(q *Question, calls []Call, a *Answer) error {
	sum := notNoted(a)
	for _, l := range a.Lines {
		sum += l.Hits
		if len(l.Frames) == 0 || !strings.Contains(l.Frames[0].Function, q.Function) {
			return fmt.Errorf("innermost frame: wanted %s, got %v", q.Function, l.Frames)
		}
	}
	return differ("sum of stacks", sum, len(calls))
}

// entry is a line of a call, of ptracer or of the truth, in the same form.
type entry struct {
	text         string
	inner, outer uint64 // of the truth
	took         uint64 // of ptracer
}

// sequence has what is about one thread in order: as it came, or where calls are
// inside of others, which end in another order than they begin, sorted.
type sequence map[int][]entry

func (q *Question) sort(s sequence) sequence {
	if q.Function == "fact" {
		for _, list := range s {
			slices.SortFunc(list, func(x, y entry) int { return strings.Compare(x.text, y.text) })
		}
	}
	return s
}

// truth is what lines have to say about calls.
func (q *Question) truth(calls []Call) sequence {
	s := sequence{}
	for i := range calls {
		c := &calls[i]
		var parts []string
		for _, name := range q.values {
			if key, hex := strings.CutPrefix(name, "hex "); hex {
				parts = append(parts, fmt.Sprintf("%q", fmt.Sprintf("%#x", values[key].of(c))))
				continue
			}
			parts = append(parts, values[name].json(c))
		}
		s[c.TID] = append(s[c.TID], entry{text: strings.Join(parts, " "), inner: c.Inner, outer: c.Outer})
	}
	return q.sort(s)
}

// compare holds lines against the truth, thread by thread.
func (q *Question) compare(calls []Call, got sequence) error {
	want := q.truth(calls)
	q.sort(got)
	for tid := range got {
		if want[tid] == nil {
			return fmt.Errorf("thread %d: wanted nothing, got %d lines", tid, len(got[tid]))
		}
	}
	for tid, list := range want {
		for i, w := range list {
			if i >= len(got[tid]) {
				return fmt.Errorf("thread %d: wanted %d lines, got %d", tid, len(list), len(got[tid]))
			}
			g := got[tid][i]
			if g.text != w.text {
				return fmt.Errorf("thread %d, line %d: wanted %s, got %s", tid, i, w.text, g.text)
			}
			if q.Function != "fact" && g.took != 0 && (g.took < w.inner || g.took > w.outer) {
				return fmt.Errorf("thread %d, line %d: took: wanted %d to %d, got %d", tid, i, w.inner, w.outer, g.took)
			}
		}
		if len(got[tid]) > len(list) {
			return fmt.Errorf("thread %d: wanted %d lines, got %d", tid, len(list), len(got[tid]))
		}
	}
	return nil
}

func checkRecords(q *Question, calls []Call, a *Answer) error {
	got := sequence{}
	for _, l := range a.Lines {
		parts, err := fields(l.Fields)
		if err != nil {
			return err
		}
		got[l.TID] = append(got[l.TID], entry{text: strings.Join(parts, " "), took: l.Took})
	}
	return q.compare(calls, got)
}

// fields are the values of an object, in their order.
func fields(object json.RawMessage) (parts []string, err error) {
	d := json.NewDecoder(strings.NewReader(string(object)))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		if _, err := d.Token(); err != nil {
			return nil, err
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		parts = append(parts, string(v))
	}
	return parts, nil
}

func checkTrace(q *Question, calls []Call, a *Answer) error {
	got := sequence{}
	for _, l := range a.Lines {
		if l.Event != "hit" {
			return fmt.Errorf("event %s: wanted hits only", l.Event)
		}
		var parts []string
		for _, v := range l.Args {
			parts = append(parts, string(v))
		}
		if l.Result != nil {
			parts = append(parts, string(l.Result))
		}
		if q.values == nil {
			parts = nil // shown, and nothing that is known
		}
		got[l.TID] = append(got[l.TID], entry{text: strings.Join(parts, " ")})
	}
	return q.compare(calls, got)
}
