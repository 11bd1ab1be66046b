package ring

import "testing"

// FuzzReader reads a ring with random contents: the records lie in the ring, and reading ends.
func FuzzReader(f *testing.F) {
	const size = 1 << 12
	r, region := newRing(f, size)
	r.Output([]byte("record"), 1)
	f.Add(append([]byte(nil), region.Bytes()...), true)
	f.Add(make([]byte, HeaderSize+64), false)
	f.Fuzz(func(t *testing.T, b []byte, near bool) {
		mem := make([]byte, HeaderSize+size)
		copy(mem, b)
		r, err := At(mem, 0, size)
		if err != nil {
			t.Fatal(err)
		}
		rd := NewFarReader(r, func(pos uint64) uint64 { return pos })
		if near {
			rd = NewReader(r, func(int) bool { return false })
		}
		for range 2 * size {
			record, ok := rd.Next()
			if !ok {
				break
			}
			if len(record) > size {
				t.Errorf("a record of %d bytes", len(record))
			}
		}
		rd.Take(4 * size)
	})
}
