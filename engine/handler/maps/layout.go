package maps

// Layout is the layout of a map in its set's region, for code generators. Offsets are in bytes.
type Layout struct {
	Header     int  // see OffUsed and its neighbours
	Start      int  // of a ring: see package ring
	Data       int  // value 0, of CPU 0
	Stride     int  // from a value to the next one
	CPUStride  int  // from a CPU's value to the next CPU's
	CPUs       int  // values per entry, without those of slots
	Slotted    bool // it has slots
	KeySize    int
	ValueSize  int
	MaxEntries int // of a ring: its size
	// Of hashes:
	LRU        bool
	Entries    int // the number of nodes
	Heads      int // offset of the heads of lists, 8 bytes each
	Buckets    int // the number of lists; a power of two
	Nodes      int
	NodeStride int
	KeyOff     int // in a node
	ValueOff   int // in a node, if values are there
}

// Layout of the map.
func (m *Map) Layout() Layout {
	l := Layout{
		Header: m.offset, Start: m.start, Data: m.data, Stride: m.stride, CPUStride: m.cpuStride, CPUs: m.cpus, Slotted: m.slotted,
		KeySize: int(m.spec.KeySize), ValueSize: int(m.spec.ValueSize), MaxEntries: int(m.spec.MaxEntries),
		Entries: m.entries, Heads: m.heads, Buckets: m.buckets, Nodes: m.nodes, NodeStride: m.nodeStride, KeyOff: m.keyOff,
	}
	if h, ok := m.table.(*hash); ok {
		l.LRU, l.ValueOff = h.lru, m.data-m.nodes
	}
	if l.Slotted {
		l.CPUs = m.engine
	}
	if m.ring != nil {
		l.MaxEntries = m.entries
	}
	return l
}
