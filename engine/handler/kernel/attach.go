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

// Location is a place to attach a program to.
type Location struct {
	// Path is the path of the file with the code, as this process can open it. Links such as
	// /proc/PID/exe and /proc/PID/root/... are allowed.
	Path   string
	Offset uint64 // in the file, not an address
	// Return makes the program run when the function that starts at Offset returns. The kernel then
	// changes return addresses on the stack, which breaks Go and C++ exceptions; for these the
	// caller attaches at the function's ret instructions instead.
	Return    bool
	Semaphore uint64 // offset in the file of a counter to hold above 0, 0: none
	Cookie    uint64 // the value of get_attach_cookie
}

// Options of Attach.
type Options struct {
	PID int // of a process, with all its threads; 0: every process that runs the code
	// Single attaches each location by itself, through the uprobe PMU, even if the kernel can
	// attach many at once.
	Single bool
}

// Link keeps a program attached to its locations.
type Link struct{ links []link.Link }

// Attached is how many kernel links the locations have.
func (l *Link) Attached() int { return len(l.links) }

// Close detaches the program from its locations. The kernel lets a run in progress end first: after
// Close the maps are not written any more.
func (l *Link) Close() error {
	var errs []error
	for _, k := range l.links {
		errs = append(errs, k.Close())
	}
	l.links = nil
	return errors.Join(errs...)
}

// Attach attaches program i to all locations, or to none. It attaches several locations in one file
// with one uprobe_multi link if the kernel has it (6.6), else each by itself. The number of links
// determines how long detaching takes: about 0.1 s per link (kernel: the grace periods of
// uprobe_unregister).
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

// uprobePMU returns an error if the kernel has no perf events for uprobes (4.17). Before, probes
// were made with text files, and stayed after the process that had made them ended.
func uprobePMU() error {
	if _, err := os.Stat("/sys/bus/event_source/devices/uprobe/type"); err != nil {
		return &failure.Unsupported{What: "handlers in the kernel: no uprobe PMU", Needs: "Linux 4.17", Err: err}
	}
	return nil
}

// groups divides locations into groups for one link each: in one file, and either all entries or
// all returns.
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

// filters reports whether the kernel filters uprobe_multi links by process. Before 6.10
// (46ba0e49b642) it filtered by the thread with that id and lost the hits of all others. The same
// change made a negative id invalid instead of not found.
func filters(file *link.Executable, p *ebpf.Program) bool {
	k, err := file.UprobeMulti(nil, p, &link.UprobeMultiOptions{Addresses: []uint64{1}, PID: math.MaxUint32})
	if err == nil {
		k.Close()
	}
	return errors.Is(err, unix.EINVAL)
}

// errStart is returned for a location that cilium can't express: to cilium, offset 0 means no
// offset. No file has code at its first byte.
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
