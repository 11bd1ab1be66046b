package handler

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/failure"
)

// Where is the executor that a handler runs in.
type Where uint8

// The executors there are. Auto takes the cheapest one that can: about 1 to 100 ns
// a hit in the tracee, 0.5 to 10 us in the kernel, 10 us and more in the engine.
const (
	Auto   Where = iota
	Tracee       // machine code in the program itself
	Kernel       // an eBPF program at a uprobe
	Engine       // interpreted, while the thread is stopped
)

var whereNames = [...]string{"auto", "tracee", "kernel", "engine"}

func (w Where) String() string {
	if int(w) < len(whereNames) {
		return whereNames[w]
	}
	return fmt.Sprintf("executor %d", uint8(w))
}

// ParseWhere is the executor called name.
func ParseWhere(name string) (Where, error) {
	for i, n := range whereNames {
		if n == name {
			return Where(i), nil
		}
	}
	return Auto, failure.Unsupportedf("executor %q: there are %s", name, strings.Join(whereNames[:], ", "))
}

// cheapest is the order that Auto tries.
var cheapest = []Where{Tracee, Kernel, Engine}

// Maps are a handler's maps, as an executor has them.
type Maps interface {
	build.Source
	io.Closer
	// Reset has the maps be as they were in the beginning, but for rings, whose
	// records stay. Nothing else may use them meanwhile.
	Reset() error
}

// Executor makes maps for a handler and gets ready to run it.
type Executor interface {
	// Open fails with an error that says why it can't run the handler here.
	Open(h *Verified) (Maps, error)
}

// Executors are those that there are for a process; nil is one that there is
// not.
type Executors struct {
	Tracee, Kernel, Engine Executor
}

func (e Executors) at(w Where) Executor {
	switch w {
	case Tracee:
		return e.Tracee
	case Kernel:
		return e.Kernel
	case Engine:
		return e.Engine
	}
	return nil
}

// calls are the numbers of the helpers that a program calls.
func calls(p *program.Program) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for i := 0; p != nil && i < len(p.Insns); i++ {
			switch in := p.Insns[i]; {
			case in.Wide():
				i++
			case in.IsCall() && in.Src == program.CallHelper && !yield(in.Imm):
				return
			}
		}
	}
}

// offers is whether an executor has all helpers that a program calls.
func (w Where) offers(p *program.Program) error {
	for num := range calls(p) {
		h := program.Helpers[num]
		if h == nil || !map[Where]bool{Tracee: h.Tracee, Kernel: h.Kernel, Engine: h.Engine}[w] {
			name := fmt.Sprint(num)
			if h != nil {
				name = h.Name
			}
			return failure.Unsupportedf("no helper %s there", name)
		}
	}
	return nil
}

// What the kernel is not chosen for, unless it is asked for.
var (
	errStacks = errors.New("it sees callers with frame pointers only")
	errPrints = errors.New("what is printed goes to its trace pipe")
)

// worse is why an executor is not to be chosen, though it can.
func (w Where) worse(h *build.Handler) error {
	if w != Kernel {
		return nil
	}
	for _, p := range []*program.Program{h.Entry, h.Exit} {
		for num := range calls(p) {
			switch num {
			case program.FnGetStack, program.FnGetStackID:
				return errStacks
			case program.FnTracePrintk:
				return errPrints
			}
		}
	}
	return nil
}

// try opens a handler in one executor.
func (e Executors) try(w Where, h *Verified) (Maps, error) {
	x := e.at(w)
	if x == nil {
		return nil, failure.Unsupportedf("not there")
	}
	for _, p := range []*program.Program{h.Handler.Entry, h.Handler.Exit} {
		if err := w.offers(p); err != nil {
			return nil, err
		}
	}
	return x.Open(h)
}

// open opens a handler where it was asked for, or in the cheapest executor that
// can; why says what was against the cheaper ones.
func (e Executors) open(w Where, h *Verified) (maps Maps, chosen Where, why string, err error) {
	if w != Auto {
		maps, err = e.try(w, h)
		if err != nil {
			return nil, w, "", fmt.Errorf("in the %v: %w", w, err)
		}
		return maps, w, "asked for", nil
	}
	return e.auto(h)
}

// auto takes the cheapest executor that can, those last that give less.
func (e Executors) auto(h *Verified) (maps Maps, chosen Where, why string, err error) {
	var reasons []string
	var errs []error
	var last []Where
	try := func(w Where) bool {
		if maps, err = e.try(w, h); err != nil {
			reasons = append(reasons, fmt.Sprintf("%v: %v", w, err))
			errs = append(errs, fmt.Errorf("in the %v: %w", w, err))
			return false
		}
		chosen, why = w, strings.Join(append(reasons, fmt.Sprintf("%v: can run it", w)), "; ")
		return true
	}
	for _, w := range cheapest {
		if less := w.worse(h.Handler); less != nil && e.at(w) != nil {
			reasons, last = append(reasons, fmt.Sprintf("%v: %v", w, less)), append(last, w)
			continue
		}
		if try(w) {
			return maps, chosen, why, nil
		}
	}
	for _, w := range last {
		if try(w) {
			return maps, chosen, why, nil
		}
	}
	return nil, Auto, "", errors.Join(errs...)
}
