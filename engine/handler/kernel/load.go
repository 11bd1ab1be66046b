package kernel

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/failure"
)

// Instance is a handler in the kernel: programs that share maps. One goroutine at a time uses it
// and its maps. A ring has a reader of its own; Close makes that return os.ErrClosed.
type Instance struct {
	programs []*program.Program
	loaded   []loaded
	maps     []*Map
	borrowed bool // another instance owns the maps
}

// loaded is a program in the kernel in two forms: as a kprobe program for any uprobe, and as one
// for uprobe_multi links, which is nil if the kernel does not have these.
type loaded struct{ one, many *ebpf.Program }

// Load loads programs into the kernel; without an error the kernel's verifier has accepted them.
// The programs share their maps, so their Maps must be equal, as those of an entry and an exit
// program are. An *ebpf.VerifierError in the error is the kernel's refusal, with its log.
func Load(programs ...*program.Program) (*Instance, error) {
	if len(programs) == 0 {
		return nil, errors.New("handlers in the kernel: no program")
	}
	for _, p := range programs {
		if err := program.Validate(p); err != nil {
			return nil, err
		}
		if !reflect.DeepEqual(p.Maps, programs[0].Maps) {
			return nil, fmt.Errorf("handlers in the kernel: %s and %s have different maps", programs[0].Name, p.Name)
		}
	}
	maps, err := openMaps(programs[0].Maps)
	if err != nil {
		return nil, err
	}
	in := &Instance{}
	for i, m := range maps {
		in.maps = append(in.maps, newMap(programs[0].Maps[i], m))
	}
	return in.add(programs)
}

// Share loads programs that use the maps of the instance, which must stay open for longer than the
// new instance. Their map descriptions must be the same.
func (in *Instance) Share(programs ...*program.Program) (*Instance, error) {
	for _, p := range programs {
		if err := program.Validate(p); err != nil {
			return nil, err
		}
		if !reflect.DeepEqual(p.Maps, in.programs[0].Maps) {
			return nil, fmt.Errorf("handlers in the kernel: %s and %s have different maps", in.programs[0].Name, p.Name)
		}
	}
	return (&Instance{maps: in.maps, borrowed: true}).add(programs)
}

// add loads an instance's programs; if that fails it closes the instance.
func (in *Instance) add(programs []*program.Program) (*Instance, error) {
	in.programs = programs
	var maps []*ebpf.Map
	for _, m := range in.maps {
		maps = append(maps, m.kernel)
	}
	for _, p := range programs {
		one, err := load(p, maps, as{kind: ebpf.Kprobe})
		if err != nil {
			in.Close()
			return nil, err
		}
		in.loaded = append(in.loaded, loaded{one: one})
	}
	return in, nil
}

// Close removes programs and maps from the kernel. The caller closes links first: an open link
// keeps what it needs.
func (in *Instance) Close() error {
	var errs []error
	for _, l := range in.loaded {
		errs = append(errs, l.one.Close())
		if l.many != nil {
			errs = append(errs, l.many.Close())
		}
	}
	for _, m := range in.maps {
		if !in.borrowed {
			errs = append(errs, m.close())
		}
	}
	return errors.Join(errs...)
}

// many returns program i in the form for uprobe_multi links.
func (in *Instance) many(i int) (*ebpf.Program, error) {
	l := &in.loaded[i]
	if l.many == nil {
		var maps []*ebpf.Map
		for _, m := range in.maps {
			maps = append(maps, m.kernel)
		}
		p, err := load(in.programs[i], maps, as{kind: ebpf.Kprobe, attach: ebpf.AttachTraceUprobeMulti})
		if err != nil {
			return nil, err
		}
		l.many = p
	}
	return l.many, nil
}

// openMaps creates the maps of a program.
func openMaps(specs []program.Map) ([]*ebpf.Map, error) {
	var maps []*ebpf.Map
	for i, m := range specs {
		k, err := openMap(m)
		if err != nil {
			closeMaps(maps)
			return nil, fmt.Errorf("map %d (%s, %v): %w", i, m.Name, m.Type, reason(err))
		}
		maps = append(maps, k)
	}
	return maps, nil
}

// openMap creates a map. It sets the contents of per-CPU maps itself: the description has one value
// for all CPUs.
func openMap(m program.Map) (*ebpf.Map, error) {
	contents := m.Contents
	if m.Type.PerCPU() {
		m.Contents = nil
	}
	k, err := ebpf.NewMap(m.Spec())
	if err != nil || !m.Type.PerCPU() {
		return k, err
	}
	for _, kv := range contents {
		if err := update(k, m.Type, kv.Key, kv.Value, 0); err != nil {
			k.Close()
			return nil, err
		}
	}
	return k, nil
}

func closeMaps(maps []*ebpf.Map) {
	for _, m := range maps {
		m.Close()
	}
}

// as says in which form to load a program.
type as struct {
	kind   ebpf.ProgramType
	attach ebpf.AttachType
	log    ebpf.LogLevel // what the verifier logs of an accepted program
}

// load loads a program with maps that are open. A refusal comes with the log.
func load(p *program.Program, maps []*ebpf.Map, as as) (*ebpf.Program, error) {
	spec, err := p.Spec()
	if err != nil {
		return nil, err
	}
	byName := map[string]*ebpf.Map{}
	for i, m := range maps {
		byName[p.MapName(i)] = m
	}
	for i := range spec.Instructions {
		if in := &spec.Instructions[i]; in.IsLoadFromMap() {
			if err := in.AssociateMap(byName[in.Reference()]); err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
		}
	}
	spec.Type, spec.AttachType = as.kind, as.attach
	if as.kind == ebpf.Syscall {
		spec.Flags |= unix.BPF_F_SLEEPABLE
	}
	k, err := ebpf.NewProgramWithOptions(spec, ebpf.ProgramOptions{LogLevel: as.log})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, reason(noHelper(err)))
	}
	return k, nil
}

// noHelper adds failure.Unsupported if the verifier says that a helper does not exist. Some kernel
// has each helper of the portable form, but an older one may lack it, and a locked-down one has no
// probe_write_user.
func noHelper(err error) error {
	var v *ebpf.VerifierError
	if !errors.As(err, &v) {
		return err
	}
	for _, line := range v.Log {
		if strings.Contains(line, "unknown func") || strings.Contains(line, "cannot use helper") {
			return &failure.Unsupported{What: "this kernel does not let programs call it", Err: err}
		}
	}
	return err
}
