package report

import (
	"math"
	"slices"
)

// robust is how many rounds it takes for quartiles to mean something.
const robust = 5

// Spread is the median of some figures and where their spread begins and ends:
// the quartiles of five or more, so that one round that something else disturbed
// does not count, as it does not for the median; of fewer the least and the most.
func Spread(values []float64) (median, low, high float64) {
	if len(values) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(values))
	median = quantile(sorted, 0.5)
	if len(sorted) < robust {
		return median, sorted[0], sorted[len(sorted)-1]
	}
	return median, quantile(sorted, 0.25), quantile(sorted, 0.75)
}

// quantile is the one at p of figures in ascending order, between two of them in
// proportion.
func quantile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	i := int(at)
	switch {
	case at == float64(i): // the next one may be infinite
		return sorted[i]
	case math.IsInf(sorted[i+1], 1):
		return sorted[i+1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
