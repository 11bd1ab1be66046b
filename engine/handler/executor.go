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

// Where is the executor that runs a handler.
type Where uint8

// Executors. Auto takes the cheapest one that can run the handler: about 1 to 100 ns per hit in the
// tracee, 0.5 to 10 µs in the kernel, 10 µs and more in the engine.
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

// ParseWhere returns the executor with this name.
func ParseWhere(name string) (Where, error) {
	for i, n := range whereNames {
		if n == name {
			return Where(i), nil
		}
	}
	return Auto, failure.Unsupportedf("executor %q: there are %s", name, strings.Join(whereNames[:], ", "))
}

// cheapest is the order in which Auto tries executors.
var cheapest = []Where{Tracee, Kernel, Engine}

// Maps are a handler's maps, as an executor keeps them.
type Maps interface {
	build.Source
	io.Closer
	// Reset restores the initial contents of the maps, except rings, which keep their records. No
	// other use of the maps may happen meanwhile.
	Reset() error
}

// Executor makes maps for a handler and prepares to run it.
type Executor interface {
	// Open returns an error that says why it can't run the handler here.
	Open(h *Verified) (Maps, error)
}

// Executors are the executors for a process; an executor that is not available is nil.
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

// calls yields the numbers of the helpers that a program calls.
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

// offers returns an error unless an executor has all helpers that a program calls.
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

// Reasons for which Auto does not choose the kernel.
var (
	errStacks = errors.New("it sees callers with frame pointers only")
	errPrints = errors.New("what is printed goes to its trace pipe")
)

// worse returns why Auto avoids an executor that could run the handler, or nil.
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

// open opens a handler in the requested executor, or in the cheapest that can run it; why says what
// prevented the cheaper ones.
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

// auto takes the cheapest executor that can run h; executors that offer less come last.
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
