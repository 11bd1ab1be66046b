package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Map is a map of an Instance.
type Map struct {
	Spec   program.Map
	kernel *ebpf.Map
	ring   *Ring
	err    error
}

func newMap(spec program.Map, k *ebpf.Map) *Map { return &Map{Spec: spec, kernel: k} }

func (m *Map) close() error {
	if m.ring != nil {
		m.ring.close()
	}
	return m.kernel.Close()
}

// Maps are the instance's maps, in the order of the programs' Maps.
func (in *Instance) Maps() []*Map { return in.maps }

// Map is the map called name, nil if there is none.
func (in *Instance) Map(name string) *Map {
	for i, m := range in.maps {
		if in.programs[0].MapName(i) == name {
			return m
		}
	}
	return nil
}

// Entries returns the entries of the map called name, none if there is no such map: the key, and
// one value, or one for each CPU. Both are valid only until the next entry. See Map.All.
func (in *Instance) Entries(name string) iter.Seq2[[]byte, [][]byte] {
	if m := in.Map(name); m != nil {
		return m.All()
	}
	return func(func([]byte, [][]byte) bool) {}
}

// All returns the map's entries: the key and one value, or one for each possible CPU. Entries that
// are added or deleted meanwhile may be missing; no key appears twice. An array always has all its
// entries. Err returns the error, if any.
func (m *Map) All() iter.Seq2[[]byte, [][]byte] {
	return func(yield func([]byte, [][]byte) bool) {
		m.err = nil
		switch m.Spec.Type {
		case program.RingBuf, program.PerfEvents:
		case program.Array, program.PerCPUArray:
			m.err = m.indexed(yield)
		default:
			m.err = m.keyed(yield)
		}
	}
}

// Err is the error of the last All.
func (m *Map) Err() error { return m.err }

func (m *Map) indexed(yield func([]byte, [][]byte) bool) error {
	key := make([]byte, 4)
	for i := range m.Spec.MaxEntries {
		binary.LittleEndian.PutUint32(key, i)
		values, err := m.Lookup(key)
		if err != nil {
			return err
		}
		if !yield(key, values) {
			return nil
		}
	}
	return nil
}

// keyed reads all keys first and then the values, so that a slow reader does not iterate over a map
// that changes.
func (m *Map) keyed(yield func([]byte, [][]byte) bool) error {
	keys, aborted := m.keys()
	for _, key := range keys {
		values, err := m.Lookup(key)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !yield(key, values) {
			return nil
		}
	}
	return aborted
}

// keys iterates from key to key. If its present key was deleted, the kernel starts again at the
// first; keys skips those it has seen. For a map that changes too fast to be read to the end it
// returns what it has found, and an error.
func (m *Map) keys() (keys [][]byte, err error) {
	seen := map[string]bool{}
	budget := 8 * (int(min(m.Spec.MaxEntries, math.MaxInt32)) + 16)
	for key, err := m.next(nil); !errors.Is(err, ebpf.ErrKeyNotExist); key, err = m.next(key) {
		if budget--; err == nil && budget < 0 {
			err = ebpf.ErrIterationAborted
		}
		if err != nil {
			return keys, fmt.Errorf("map %s: %w", m.Spec.Name, err)
		}
		if !seen[string(key)] {
			seen[string(key)] = true
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (m *Map) next(key []byte) ([]byte, error) {
	out := make([]byte, m.Spec.KeySize)
	if key == nil {
		return out, m.kernel.NextKey(nil, out)
	}
	return out, m.kernel.NextKey(key, out)
}

// Lookup returns a key's value, one for each CPU in per-CPU maps. If there is none, the error is an
// ebpf.ErrKeyNotExist.
func (m *Map) Lookup(key []byte) ([][]byte, error) {
	raw, err := m.kernel.LookupBytes(key)
	if err == nil && raw == nil {
		err = ebpf.ErrKeyNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", m.Spec.Name, err)
	}
	size := int(m.Spec.ValueSize)
	if !m.Spec.Type.PerCPU() {
		return [][]byte{raw[:size]}, nil
	}
	var values [][]byte
	for stride := (size + 7) &^ 7; len(raw) >= stride; raw = raw[stride:] {
		values = append(values, raw[:size:size])
	}
	return values, nil
}

// Update sets a key's value; in per-CPU maps, that of all CPUs.
func (m *Map) Update(key, value []byte, flags uint64) error {
	if len(value) != int(m.Spec.ValueSize) {
		return fmt.Errorf("map %s: a value of %d bytes instead of %d", m.Spec.Name, len(value), m.Spec.ValueSize)
	}
	if err := update(m.kernel, m.Spec.Type, key, value, flags); err != nil {
		return fmt.Errorf("map %s: %w", m.Spec.Name, err)
	}
	return nil
}

// update sets a key's value, on all CPUs.
func update(k *ebpf.Map, t program.MapType, key, value []byte, flags uint64) error {
	if !t.PerCPU() {
		return k.Update(key, value, ebpf.MapUpdateFlags(flags))
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	return k.Update(key, slices.Repeat([][]byte{value}, cpus), ebpf.MapUpdateFlags(flags))
}

// Reset restores the initial contents of the maps, except rings, which keep their records, and
// read-only maps. Updates by programs that run meanwhile may be lost or not.
func (in *Instance) Reset() error {
	var errs []error
	for _, m := range in.maps {
		errs = append(errs, m.reset())
	}
	return errors.Join(errs...)
}

func (m *Map) reset() error {
	if m.Spec.ReadOnly {
		return nil
	}
	var errs []error
	switch m.Spec.Type {
	case program.RingBuf, program.PerfEvents:
		return nil
	case program.Array, program.PerCPUArray:
		key, zero := make([]byte, 4), make([]byte, m.Spec.ValueSize)
		for i := range m.Spec.MaxEntries {
			binary.LittleEndian.PutUint32(key, i)
			errs = append(errs, m.Update(key, zero, 0))
		}
	default:
		keys, err := m.keys()
		errs = append(errs, err)
		for _, key := range keys {
			if err := m.Delete(key); !errors.Is(err, ebpf.ErrKeyNotExist) {
				errs = append(errs, err)
			}
		}
	}
	for _, kv := range m.Spec.Contents {
		errs = append(errs, m.Update(kv.Key, kv.Value, 0))
	}
	return errors.Join(errs...)
}

// Delete deletes a key. Errors hold the kernel's errno.
func (m *Map) Delete(key []byte) error {
	if err := m.kernel.Delete(key); err != nil {
		return fmt.Errorf("map %s: %w", m.Spec.Name, err)
	}
	return nil
}
