package breakpoint

import (
	"math/bits"

	"github.com/ptracer/ptracer/arch"
)

// addrSet is a set of addresses that lie close together: a bit for each, by page.
type addrSet map[arch.Addr]*[pageSize / 64]uint64

// put puts the addresses in [from, to) in, or out.
func (s addrSet) put(from, to arch.Addr, in bool) {
	for from < to {
		page, word, mask, n := wordOf(from, to)
		p := s[page]
		if p == nil {
			p = new([pageSize / 64]uint64)
			s[page] = p
		}
		if in {
			p[word] |= mask
		} else {
			p[word] &^= mask
		}
		from += n
	}
}

// any reports whether at least one address in [from, to) is in the set.
func (s addrSet) any(from, to arch.Addr) bool {
	for from < to {
		page, word, mask, n := wordOf(from, to)
		if p := s[page]; p != nil && p[word]&mask != 0 {
			return true
		}
		from += n
	}
	return false
}

// wordOf returns where the bits of the first n addresses of [from, to) are, all in one word.
func wordOf(from, to arch.Addr) (page arch.Addr, word int, mask uint64, n arch.Addr) {
	bit := from % 64
	n = min(64-bit, to-from)
	mask = ^uint64(0) >> (bits.UintSize - n) << bit
	return from / pageSize, int(from % pageSize / 64), mask, n
}
