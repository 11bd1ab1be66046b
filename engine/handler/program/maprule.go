package program

import "github.com/ptracer/ptracer/failure"

// mapRule says which sizes the kernel accepts for a map; 0: any.
type mapRule struct {
	key, value uint32 // exactly
	none       bool   // neither key nor value
	entries    bool   // at least one
}

var mapRules = map[MapType]mapRule{
	Hash: {entries: true}, PerCPUHash: {entries: true}, LRUHash: {entries: true},
	Array: {key: 4, entries: true}, PerCPUArray: {key: 4, entries: true},
	StackTrace: {key: 4, entries: true}, PerfEvents: {key: 4, value: 4},
	RingBuf: {none: true, entries: true},
}

// Bounds of maps. The kernel's are larger for values; with these the sum of all sizes of a map fits
// into 64 bits, and they are far above sensible sizes.
const (
	maxKey   = 512 // MAX_BPF_STACK
	maxValue = 1 << 28
	maxStack = 127 // frames, kernel.perf_event_max_stack
	page     = 4096
)

// Check returns why a map can't be made on any machine, as an *Error, or nil.
func (m *Map) Check() error {
	refuse := func(why error) error {
		return &Error{Program: "map " + m.Name, Insn: -1, Err: why}
	}
	rule, ok := mapRules[m.Type]
	switch {
	case !ok:
		return refuse(failure.Unsupportedf("%v", m.Type))
	case rule.none && (m.KeySize != 0 || m.ValueSize != 0):
		return refuse(invalid("it has neither keys nor values"))
	case rule.key != 0 && m.KeySize != rule.key, !rule.none && (m.KeySize == 0 || m.KeySize > maxKey):
		return refuse(invalid("a key of %d bytes", m.KeySize))
	case rule.value != 0 && m.ValueSize != rule.value, !rule.none && (m.ValueSize == 0 || m.ValueSize > maxValue):
		return refuse(invalid("a value of %d bytes", m.ValueSize))
	case rule.entries && m.MaxEntries == 0:
		return refuse(invalid("no entries"))
	case m.Type == RingBuf && (m.MaxEntries < page || m.MaxEntries&(m.MaxEntries-1) != 0):
		return refuse(invalid("%d bytes are no power of two, a page at least", m.MaxEntries))
	case m.Type == StackTrace && (m.ValueSize%8 != 0 || m.ValueSize > maxStack*8):
		return refuse(invalid("%d bytes are no up to %d addresses", m.ValueSize, maxStack))
	case m.ReadOnly && m.Type != Array:
		return refuse(invalid("read only is for constants in an array"))
	}
	for _, kv := range m.Contents {
		if rule.none || len(kv.Key) != int(m.KeySize) || len(kv.Value) != int(m.ValueSize) {
			return refuse(invalid("an initial entry of another size"))
		}
	}
	return nil
}
