package dwarf

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sort"
	"sync"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// Names is an index of names: of functions, of variables and types that are not local to one, and
// of enumerators.
type Names struct {
	d     *Data
	all   []uint64 // hash<<32 | offset, in order
	other []*Names // of the files that hold parts of this one
}

// maxIndexed is how large .debug_info may be that is indexed.
const maxIndexed = 1 << 32

// Names returns the index, which is made when it is first asked for.
func (d *Data) Names() (*Names, error) { return d.names() }

// index makes the index of this file and those that hold parts of it. Of what can't be read, there
// are no names; Units and Whole tell why.
func (d *Data) index() (*Names, error) {
	n, err := d.indexOne()
	if err != nil {
		return nil, err
	}
	others, err := d.others()
	if err != nil {
		return nil, err
	}
	for _, other := range others {
		of, err := other.Names()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", other.where.Path, err)
		}
		n.other = append(n.other, of)
	}
	return n, nil
}

// others are the other files that hold parts of this one.
func (d *Data) others() (list []*Data, err error) {
	all, err := d.units()
	if err != nil {
		return nil, err
	}
	seen := map[*Data]bool{d: true}
	for _, u := range all.info {
		if whole, err := u.Whole(); err == nil && !seen[whole.d] {
			seen[whole.d] = true
			list = append(list, whole.d)
		}
	}
	if _, _, err := d.altLink(); err == nil {
		if alt, err := d.alt(); err == nil {
			list = append(list, alt)
		}
	}
	return list, nil
}

// indexOne scans all units of this file, several at a time.
func (d *Data) indexOne() (*Names, error) {
	all, err := d.units()
	if err != nil {
		return nil, err
	}
	info, err := d.section(secInfo)
	if err != nil {
		return nil, err
	}
	if info.Size > maxIndexed {
		return nil, fmt.Errorf("%s has %d bytes: %w", info.Name, info.Size, elffile.ErrBudget)
	}
	part := fmt.Sprint("names ", info.Name, info.Size)
	if have := readNames(d.cache.Open(part)); have != nil {
		return &Names{d: d, all: have}, nil
	}
	s, err := d.section(secStr)
	if err != nil {
		return nil, err
	}
	str, err := s.At(0, s.Size)
	if err != nil {
		return nil, err
	}
	parts, err := d.scanAll(all.info, str)
	if err != nil {
		return nil, err
	}
	n := &Names{d: d, all: inOrder(parts)}
	if info.Size > worthKeeping {
		_, err = d.cache.Save(part, n.write)
	}
	return n, err
}

// worthKeeping is how much .debug_info a file has whose index is kept: less is scanned as fast.
const worthKeeping = 256 << 10

// write writes the index, as readNames reads it.
func (n *Names) write(w io.Writer) error {
	b := make([]byte, 0, 8*len(n.all))
	for _, v := range n.all {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	_, err := w.Write(b)
	return err
}

// readNames reads an index, nil if there is none.
func readNames(s *raw.Section) []uint64 {
	if s == nil || s.Size%8 != 0 {
		return nil
	}
	b, err := s.At(0, s.Size)
	if err != nil {
		return nil
	}
	all := make([]uint64, len(b)/8)
	for i := range all {
		all[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return all
}

// scanAll scans units, as many at a time as there are CPUs.
func (d *Data) scanAll(list []*Unit, str []byte) ([][]uint64, error) {
	workers := min(runtime.GOMAXPROCS(0), max(1, len(list)))
	parts, errs := make([][]uint64, workers), make([]error, workers)
	const some = 16 // units that a worker takes at a time
	var mu sync.Mutex
	take := func() (part []*Unit) {
		mu.Lock()
		defer mu.Unlock()
		n := min(some, len(list))
		part, list = list[:n], list[n:]
		return part
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			sc := &scanner{d: d, str: str}
			for part := take(); len(part) > 0; part = take() {
				for _, u := range part {
					if err := sc.unit(u); err != nil && errs[i] == nil {
						errs[i] = err
					}
				}
			}
			parts[i] = sc.out
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// inOrder sorts what the workers have found: into buckets by the first bits, then each.
func inOrder(parts [][]uint64) []uint64 {
	const buckets, shift = 1 << 12, 64 - 12
	var ends [buckets + 1]int
	n := 0
	for _, part := range parts {
		for _, v := range part {
			ends[v>>shift+1]++
		}
		n += len(part)
	}
	for i := range buckets {
		ends[i+1] += ends[i]
	}
	all, next := make([]uint64, n), ends
	for _, part := range parts {
		for _, v := range part {
			all[next[v>>shift]] = v
			next[v>>shift]++
		}
	}
	for i := range buckets {
		slices.Sort(all[ends[i]:ends[i+1]])
	}
	return all
}

// Len is how many names the index has, each as often as there is something of that name.
func (n *Names) Len() int {
	sum := len(n.all)
	for _, other := range n.other {
		sum += other.Len()
	}
	return sum
}

// Lookup calls yield for each entry with a name, until it returns false: the name itself, without
// those of what the entry lies in.
func (n *Names) Lookup(name string, yield func(Entry) bool) error {
	_, err := n.lookup(name, uint64(hashOf(name))<<32, yield)
	return err
}

func (n *Names) lookup(name string, hash uint64, yield func(Entry) bool) (more bool, err error) {
	i := sort.Search(len(n.all), func(i int) bool { return n.all[i] >= hash })
	for ; i < len(n.all) && n.all[i]>>32 == hash>>32; i++ {
		e, err := n.d.EntryAt(n.all[i] & (1<<32 - 1))
		if err != nil {
			return false, err
		}
		if e.Name() == name && !yield(e) {
			return false, nil
		}
	}
	for _, other := range n.other {
		if more, err := other.lookup(name, hash, yield); err != nil || !more {
			return more, err
		}
	}
	return true, nil
}
