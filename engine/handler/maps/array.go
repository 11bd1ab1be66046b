package maps

import "encoding/binary"

// array is a map with an index of 32 bits as its key: the values follow each other, for each CPU.
type array Map

func (a *array) index(key []byte) (int, bool) {
	i := binary.LittleEndian.Uint32(key)
	return int(i), i < a.spec.MaxEntries
}

func (a *array) lookup(key []byte, cpu int) (int, bool) {
	i, ok := a.index(key)
	m := (*Map)(a)
	return m.valueAt(i, m.clamp(cpu)), ok
}

func (a *array) update(key, value []byte, flags uint64, cpu int) error {
	i, ok := a.index(key)
	m := (*Map)(a)
	switch {
	case !ok:
		return m.refuse(ErrFull)
	case flags == NoExist:
		return ErrExists
	}
	m.set(i, value, cpu)
	return nil
}

func (a *array) delete([]byte) error { return ErrInvalid }

func (a *array) all(cpus []int, values [][]byte, yield func([]byte) bool) {
	key := make([]byte, 4)
	for i := range a.spec.MaxEntries {
		binary.LittleEndian.PutUint32(key, i)
		(*Map)(a).loadAll(int(i), cpus, values)
		if !yield(key) {
			return
		}
	}
}
