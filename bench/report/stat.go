package report

import (
	"math"
	"slices"
)

// robust is the least number of rounds with meaningful quartiles.
const robust = 5

// Spread returns the median of some figures and the ends of their spread. For five or more figures
// the ends are the quartiles, so that one disturbed round has as little effect as on the median;
// for fewer they are the smallest and the largest.
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

// quantile returns the quantile p of sorted figures, interpolated between two of them.
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
