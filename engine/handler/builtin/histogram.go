package builtin

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strings"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/printable"
)

// Num is a 64-bit number, signed or unsigned.
type Num struct {
	Bits   uint64
	Signed bool
}

func (n Num) String() string {
	if n.Signed {
		return fmt.Sprint(int64(n.Bits))
	}
	return fmt.Sprint(n.Bits)
}

// MarshalJSON writes a JSON number.
func (n Num) MarshalJSON() ([]byte, error) { return []byte(n.String()), nil }

// Float is the nearest float64.
func (n Num) Float() float64 {
	if n.Signed {
		return float64(int64(n.Bits))
	}
	return float64(n.Bits)
}

// Bucket counts the values from Lo to Hi, both included.
type Bucket struct {
	Lo    Num    `json:"lo"`
	Hi    Num    `json:"hi"`
	Count uint64 `json:"count"`
}

// nanoseconds is the unit of a histogram of times.
const nanoseconds = "ns"

// Histogram is the result of hist and latency. Empty buckets at both ends are omitted.
type Histogram struct {
	Label   string   `json:"label"`
	Unit    string   `json:"unit,omitempty"`
	Count   uint64   `json:"count"`
	Sum     Num      `json:"sum"` // modulo 1<<64
	Min     Num      `json:"min"` // meaningless without a value
	Max     Num      `json:"max"`
	Under   uint64   `json:"under,omitempty"`
	Over    uint64   `json:"over,omitempty"`
	Buckets []Bucket `json:"buckets"`
	Misses
	Unpaired
}

// ReadHist reads the map of a histogram with this scale.
func ReadHist(s build.Source, label, unit string, scale Scale, signed bool) (*Histogram, error) {
	h := &Histogram{Label: label, Unit: unit}
	counts := make([]uint64, scale.buckets())
	sum, largest, notMin := uint64(0), uint64(0), uint64(0)
	for _, values := range s.Entries("hist") {
		sum += total(values, histSum)
		h.Under += total(values, histUnder)
		h.Over += total(values, histOver)
		h.Faults += total(values, histFaults)
		for _, v := range values {
			largest, notMin = max(largest, word(v, histMax)), max(notMin, word(v, histNotMin))
		}
		for i := range counts {
			counts[i] += total(values, histFirst+8*i)
		}
	}
	bias := uint64(0)
	if signed {
		bias = 1 << 63
	}
	h.Sum, h.Max, h.Min = Num{sum, signed}, Num{largest ^ bias, signed}, Num{^notMin ^ bias, signed}
	h.Count = h.Under + h.Over
	first, last := len(counts), -1
	for i, n := range counts {
		h.Count += n
		if n > 0 {
			first, last = min(first, i), i
		}
	}
	h.Buckets = []Bucket{}
	for i := first; i <= last; i++ {
		lo, hi := scale.bounds(i)
		h.Buckets = append(h.Buckets, Bucket{Num{lo, signed}, Num{hi, signed}, counts[i]})
	}
	if h.Count == 0 {
		h.Min, h.Max = Num{0, signed}, Num{0, signed}
	}
	return h, nil
}

// bounds returns the smallest and the largest value of bucket i.
func (s Scale) bounds(i int) (lo, hi uint64) {
	switch {
	case s.Step != 0:
		lo = uint64(s.Lo) + uint64(i)*s.Step
		return lo, lo + s.Step - 1
	case i == 0:
		return 0, 0
	}
	lo = 1 << (i - 1)
	return lo, lo + (lo - 1)
}

// Mean is the average value, NaN if there is no value.
func (h *Histogram) Mean() float64 {
	if h.Count == 0 {
		return math.NaN()
	}
	return h.Sum.Float() / float64(h.Count)
}

// Quantile returns a value that at least the fraction q of all values, 0 to 1, does not exceed: the
// end of a bucket, and at most the largest value.
func (h *Histogram) Quantile(q float64) Num {
	want := uint64(math.Ceil(q * float64(h.Count)))
	seen := h.Under
	if want <= seen {
		return h.Min
	}
	for _, b := range h.Buckets {
		if seen += b.Count; seen >= want {
			if b.Hi.Float() < h.Max.Float() {
				return b.Hi
			}
			break
		}
	}
	return h.Max
}

// MarshalJSON writes the fields under their lower-case names. Times in nanoseconds have names that
// end accordingly, and then there is no unit field.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	if h.Unit == nanoseconds {
		return json.Marshal(h.times())
	}
	type plain Histogram
	return json.Marshal((*plain)(h))
}

// times is the JSON form of a Histogram of nanoseconds.
type times struct {
	Label   string       `json:"label"`
	Count   uint64       `json:"count"`
	Sum     Num          `json:"sum_ns"`
	Min     Num          `json:"min_ns"`
	Max     Num          `json:"max_ns"`
	Under   uint64       `json:"under,omitempty"`
	Over    uint64       `json:"over,omitempty"`
	Buckets []timeBucket `json:"buckets"`
	Misses
	Unpaired
}

type timeBucket struct {
	Lo    Num    `json:"lo_ns"`
	Hi    Num    `json:"hi_ns"`
	Count uint64 `json:"count"`
}

func (h *Histogram) times() times {
	t := times{h.Label, h.Count, h.Sum, h.Min, h.Max, h.Under, h.Over, []timeBucket{}, h.Misses, h.Unpaired}
	for _, b := range h.Buckets {
		t.Buckets = append(t.Buckets, timeBucket(b))
	}
	return t
}

// Text draws the buckets as bars and writes the totals below.
func (h *Histogram) Text(w io.Writer, columns int) error {
	title := h.Label
	if h.Unit != "" {
		title += " (" + h.Unit + ")"
	}
	if err := printable.Write(w, title); err != nil {
		return err
	}
	if err := h.bars(w, columns); err != nil {
		return err
	}
	var tail strings.Builder
	fmt.Fprintf(&tail, "%d values", h.Count)
	if h.Count > 0 {
		fmt.Fprintf(&tail, ", min %v, mean %.1f, max %v", h.show(h.Min), h.Mean(), h.show(h.Max))
	}
	if s := h.Misses.Missing(); s != "" {
		fmt.Fprintf(&tail, "; %s", s)
	}
	if s := h.Unpaired.text(); s != "" {
		fmt.Fprintf(&tail, "; %s", s)
	}
	return printable.Write(w, tail.String())
}

// bars draws one line per bucket.
func (h *Histogram) bars(w io.Writer, columns int) error {
	rows := make([][2]string, 0, len(h.Buckets)+2)
	counts := []uint64{}
	row := func(name string, n uint64) {
		rows, counts = append(rows, [2]string{name, fmt.Sprint(n)}), append(counts, n)
	}
	if h.Under > 0 {
		row("(below)", h.Under)
	}
	for _, b := range h.Buckets {
		row(h.bucketName(b), b.Count)
	}
	if h.Over > 0 {
		row("(above)", h.Over)
	}
	wide, most := [2]int{}, uint64(0)
	for i, r := range rows {
		wide[0], wide[1], most = max(wide[0], len(r[0])), max(wide[1], len(r[1])), max(most, counts[i])
	}
	room := max(columns-wide[0]-wide[1]-4, 8)
	for i, r := range rows {
		if err := printable.Printf(w, "%-*s %*s |%s", wide[0], r[0], wide[1], r[1], bar(counts[i], most, room)); err != nil {
			return err
		}
	}
	return nil
}

// bar is a bar for n of most, in eighths of a column.
func bar(n, most uint64, room int) string {
	if n == 0 || most == 0 {
		return ""
	}
	hi, lo := bits.Mul64(n, uint64(room)*8)
	eighths, _ := bits.Div64(hi, lo, most)
	eighths = max(eighths, 1)
	s := strings.Repeat("█", int(eighths/8))
	if part := eighths % 8; part > 0 {
		s += string(rune(0x2590 - part)) // U+2588 full to U+258F one eighth
	}
	return s
}

func (h *Histogram) bucketName(b Bucket) string {
	if b.Lo == b.Hi {
		return fmt.Sprintf("[%s]", h.show(b.Lo))
	}
	next := b.Hi
	next.Bits++
	if next.Float() < b.Lo.Float() { // wrapped
		return fmt.Sprintf("[%s, ...)", h.show(b.Lo))
	}
	return fmt.Sprintf("[%s, %s)", h.show(b.Lo), h.show(next))
}

// show abbreviates powers of two: 4K for 4096.
func (h *Histogram) show(n Num) string {
	if h.Unit == "" || h.Unit == "B" {
		for i, unit := range "EPTGMK" {
			if shift := 10 * (6 - i); n.Bits != 0 && n.Bits>>shift != 0 && n.Bits<<(64-shift) == 0 && !(n.Signed && int64(n.Bits) < 0) {
				return fmt.Sprintf("%d%c", n.Bits>>shift, unit)
			}
		}
	}
	return n.String()
}
