package kernel

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// perfBuffer is the size of each CPU's ring for a perf event array, in bytes: the map's own
// description has none.
const perfBuffer = 64 << 10

// Ring reads the records of a ring buffer or perf event array. One goroutine uses it.
type Ring struct {
	ring   *ringbuf.Reader
	perf   *perf.Reader
	record ringbuf.Record
	sample perf.Record
	lost   uint64
}

// Ring returns the map's reader, the same one each time. Records of a perf event array are lost
// while it has no reader.
func (m *Map) Ring() (*Ring, error) {
	if m.ring != nil {
		return m.ring, nil
	}
	r, err := &Ring{}, error(nil)
	switch m.Spec.Type {
	case program.RingBuf:
		r.ring, err = ringbuf.NewReader(m.kernel)
	case program.PerfEvents:
		r.perf, err = perf.NewReader(m.kernel, perfBuffer)
	default:
		err = fmt.Errorf("a map of type %v has no records", m.Spec.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", m.Spec.Name, reason(err))
	}
	m.ring = r
	return r, nil
}

// Read returns the next record. It waits for one until the deadline, and then returns
// os.ErrDeadlineExceeded. The record is valid until the next Read.
//
// A record of a perf event array is padded with zeros to a length of 4 above a multiple of 8, and
// records of different CPUs are not in order.
func (r *Ring) Read(deadline time.Time) (record []byte, err error) {
	if r.ring != nil {
		r.ring.SetDeadline(deadline)
		err = r.ring.ReadInto(&r.record)
		return r.record.RawSample, err
	}
	r.perf.SetDeadline(deadline)
	for {
		if err = r.perf.ReadInto(&r.sample); err != nil {
			return nil, err
		}
		if r.sample.LostSamples == 0 {
			return r.sample.RawSample, nil
		}
		r.lost += r.sample.LostSamples
	}
}

// Next returns the next record, false if there is none yet.
func (r *Ring) Next() (record []byte, ok bool, err error) {
	record, err = r.Read(time.Unix(0, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, false, nil
	}
	return record, err == nil, err
}

// Lost is how many records the kernel has reported as dropped. It reports them only for perf event
// arrays, with the next record that fits; for a full ring buffer it tells the program.
func (r *Ring) Lost() uint64 { return r.lost }

func (r *Ring) close() {
	if r.ring != nil {
		r.ring.Close()
	}
	if r.perf != nil {
		r.perf.Close()
	}
}
