package maps

import (
	"errors"
	"fmt"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
)

// Reset restores the contents that New made, except in rings, which keep their records, and
// read-only maps. The maps must have no other user meanwhile. It touches only memory that exists:
// parts that were never written take none.
func (s *Set) Reset() error {
	var errs []error
	for _, m := range s.maps {
		if err := m.reset(); err != nil {
			errs = append(errs, fmt.Errorf("map %q: %w", m.spec.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (m *Map) reset() error {
	if m.ring != nil || m.spec.ReadOnly {
		return nil
	}
	ring.Word(m.b, m.offset+OffRefused).Store(0)
	switch m.spec.Type {
	case program.Hash, program.LRUHash, program.PerCPUHash:
		var keys [][]byte
		for key := range m.All() {
			keys = append(keys, append([]byte(nil), key...))
		}
		for _, key := range keys {
			if err := m.Delete(key); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	default:
		for _, x := range m.written(m.start, m.end) {
			clear(m.b[x.from:x.to])
		}
	}
	for _, kv := range m.spec.Contents {
		if err := m.Update(kv.Key, kv.Value, 0, AllCPUs); err != nil {
			return fmt.Errorf("initial contents: %w", err)
		}
	}
	return nil
}

// offBegun is the word with the time since which the maps count, in ns of the monotonic clock; 0:
// since they were made.
const offBegun = 56

// SetBegun records the time since which the maps count, after a reset.
func (s *Set) SetBegun(at int64) { ring.Word(s.Bytes(), offBegun).Store(uint64(at)) }

// Begun is the time that SetBegun recorded last, 0 if there is none.
func (s *Set) Begun() int64 { return int64(ring.Word(s.Bytes(), offBegun).Load()) }
