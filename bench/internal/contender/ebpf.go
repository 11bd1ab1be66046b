package contender

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/ptracer/ptracer/bench/internal/target"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// Kind is a way to attach an eBPF program.
type Kind int

// Kinds.
const (
	Single Kind = iota // a uprobe by the PMU
	Multi              // one link for many places; a second place exists, which is never executed
	Return             // a uretprobe
)

// EBPF counts with an eBPF program at a uprobe: it adds to a word of the CPU's own, as ptracer's
// count handler does.
func EBPF(p *target.Process, s target.Site, kind Kind) (Probe, error) {
	at := []kernel.Location{{Path: p.Program.Path, Offset: target.Offset(s.Addr), Return: kind == Return}}
	switch {
	case kind == Return && s.Off != 0:
		return nil, errEntry
	case kind == Multi:
		at = append(at, kernel.Location{Path: p.Program.Path, Offset: target.Offset(p.Program.Addr("on_trap"))})
	}
	return attach(p, at, kind)
}

// errEntry is returned for a way that needs a function's start.
var errEntry = errors.New("the kernel follows returns from functions' starts only")

// Many counts the executions of many places, with one link.
func Many(p *target.Process, addrs []uint64) (Probe, error) {
	var at []kernel.Location
	for _, addr := range addrs {
		at = append(at, kernel.Location{Path: p.Program.Path, Offset: target.Offset(addr)})
	}
	if len(at) == 1 {
		return attach(p, at, Single)
	}
	return attach(p, at, Multi)
}

func attach(p *target.Process, at []kernel.Location, kind Kind) (Probe, error) {
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	h, err := builtin.Count(ctx, build.Entry)
	if err != nil {
		return nil, err
	}
	in, err := kernel.Load(h.Entry)
	if err != nil {
		return nil, refused(err)
	}
	link, err := in.Attach(0, at, kernel.Options{PID: p.PID, Single: kind != Multi})
	if err != nil {
		return nil, errors.Join(refused(err), in.Close())
	}
	if kind == Multi && link.Attached() != 1 {
		return nil, errors.Join(fmt.Errorf("%w: no uprobe_multi links by process: the kernel has them since 6.10", ErrMissing), link.Close(), in.Close())
	}
	return plain{
		hits:  func() (uint64, error) { return builtin.ReadCount(in).Hits, nil },
		close: func() error { return errors.Join(link.Close(), in.Close()) },
	}, nil
}

// refused returns why the kernel refuses a request: if possible, what prevents eBPF on this machine
// at all.
func refused(err error) error {
	if why := kernel.Available(); why != nil {
		return fmt.Errorf("%w: %w", ErrMissing, why)
	}
	return err
}
