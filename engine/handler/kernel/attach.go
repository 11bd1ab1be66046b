package kernel

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/ptracer/ptracer/failure"
	"golang.org/x/sys/unix"
)

// Location is where a program is attached.
type Location struct {
	// Path of the file with the code, as this process can open it; links such
	// as /proc/PID/exe and /proc/PID/root/... will do.
	Path   string
	Offset uint64 // in the file, not an address
	// Return is whether the program runs when the function that starts at
	// Offset returns. The kernel then changes return addresses on the stack,
	// which Go and C++ exceptions do not survive; attach at a function's own
	// ret instructions instead.
	Return    bool
	Semaphore uint64 // offset in the file of a counter to hold above 0, 0: none
	Cookie    uint64 // what get_attach_cookie gives
}

// Options of Attach.
type Options struct {
	PID int // of the process, all its threads; 0: every process that runs the code
	// Single attaches each location by itself, by the uprobe PMU, even if the
	// kernel can take many at once.
	Single bool
}

// Link is what holds a program at its locations.
type Link struct{ links []link.Link }

// Attached is how many links the kernel has for the locations.
func (l *Link) Attached() int { return len(l.links) }

// Close takes the program from its locations. A run that goes on ends first or
// not at all: after Close the maps are not written any more.
func (l *Link) Close() error {
	var errs []error
	for _, k := range l.links {
		errs = append(errs, k.Close())
	}
	l.links = nil
	return errors.Join(errs...)
}

// Attach puts program i at locations, at all or none. More than one location in
// a file are attached by one uprobe_multi link where the kernel has it (6.6),
// else each by itself. That is what costs when they are taken away: about 0.1 s
// for each link (kernel: the grace periods of uprobe_unregister).
func (in *Instance) Attach(i int, at []Location, o Options) (*Link, error) {
	if err := uprobePMU(); err != nil {
		return nil, err
	}
	l := &Link{}
	for _, group := range groups(at) {
		links, err := in.attach(i, group, o)
		l.links = append(l.links, links...)
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("%s: attach to %s: %w", in.programs[i].Name, group[0].Path, reason(err))
		}
	}
	return l, nil
}

// uprobePMU says so if the kernel has no perf events for uprobes (4.17). There
// were text files to make probes with before, which outlive who made them.
func uprobePMU() error {
	if _, err := os.Stat("/sys/bus/event_source/devices/uprobe/type"); err != nil {
		return &failure.Unsupported{What: "handlers in the kernel: no uprobe PMU", Needs: "Linux 4.17", Err: err}
	}
	return nil
}

// groups are the locations that one link may have: those of one file, all
// entries or all returns.
func groups(at []Location) [][]Location {
	type key struct {
		path string
		ret  bool
	}
	var out [][]Location
	place := map[key]int{}
	for _, l := range at {
		k := key{l.Path, l.Return}
		n, ok := place[k]
		if !ok {
			n = len(out)
			place[k] = n
			out = append(out, nil)
		}
		out[n] = append(out[n], l)
	}
	return out
}

// attach attaches a group.
func (in *Instance) attach(i int, group []Location, o Options) ([]link.Link, error) {
	file, err := link.OpenExecutable(group[0].Path)
	if err != nil {
		return nil, err
	}
	if len(group) > 1 && !o.Single && features.HaveBPFLinkUprobeMulti() == nil {
		p, err := in.many(i)
		if err != nil {
			return nil, err
		}
		if o.PID == 0 || filters(file, p) {
			k, err := attachMany(file, p, group, o)
			if err != nil {
				return nil, err
			}
			return []link.Link{k}, nil
		}
	}
	var links []link.Link
	for _, at := range group {
		k, err := attachOne(file, in.loaded[i].one, at, o)
		if err != nil {
			return links, fmt.Errorf("offset %#x: %w", at.Offset, err)
		}
		links = append(links, k)
	}
	return links, nil
}

// filters is whether the kernel filters uprobe_multi links by process. Before
// 6.10 (46ba0e49b642) it took the thread with that id and lost the hits of all
// others; the same change made a negative id invalid instead of not found.
func filters(file *link.Executable, p *ebpf.Program) bool {
	k, err := file.UprobeMulti(nil, p, &link.UprobeMultiOptions{Addresses: []uint64{1}, PID: math.MaxUint32})
	if err == nil {
		k.Close()
	}
	return errors.Is(err, unix.EINVAL)
}

// errStart is a location that cilium can't name: offset 0 means none there. No
// file has code at its first byte.
var errStart = errors.New("offset 0 is not code")

func attachOne(file *link.Executable, p *ebpf.Program, at Location, o Options) (link.Link, error) {
	if at.Offset == 0 {
		return nil, errStart
	}
	opts := &link.UprobeOptions{Address: at.Offset, PID: o.PID, RefCtrOffset: at.Semaphore, Cookie: at.Cookie}
	if at.Return {
		return file.Uretprobe("", p, opts)
	}
	return file.Uprobe("", p, opts)
}

func attachMany(file *link.Executable, p *ebpf.Program, group []Location, o Options) (link.Link, error) {
	opts := &link.UprobeMultiOptions{PID: uint32(o.PID)}
	for _, at := range group {
		if at.Offset == 0 {
			return nil, errStart
		}
		opts.Addresses = append(opts.Addresses, at.Offset)
		opts.RefCtrOffsets = append(opts.RefCtrOffsets, at.Semaphore)
		opts.Cookies = append(opts.Cookies, at.Cookie)
	}
	if group[0].Return {
		return file.UretprobeMulti(nil, p, opts)
	}
	return file.UprobeMulti(nil, p, opts)
}
