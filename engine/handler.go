package engine

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/inproc"
	"github.com/ptracer/ptracer/engine/internal/jump"
	"github.com/ptracer/ptracer/engine/internal/uprobe"
	"github.com/ptracer/ptracer/symbols"
)

// everything is what a tracer of its own session may do with handlers.
const everything = program.ReadMemory | program.WriteMemory | program.Override

// OpenHandler implements Session.
func (s *session) OpenHandler(spec HandlerSpec) (Handler, error) {
	return openHandlerFor(s, ownUser(), spec)
}

// ownUser is the user that this process runs as, with all rights.
func ownUser() handler.Peer {
	return handler.Peer{UID: uint32(os.Geteuid()), GIDs: []uint32{uint32(os.Getegid())}, Rights: everything}
}

// openHandlerFor opens a handler with the rights of a peer.
func openHandlerFor(s *session, by handler.Peer, spec HandlerSpec) (Handler, error) {
	ctx, err := program.ContextOf(s.isa.Name())
	if err != nil {
		return nil, err
	}
	var goCode bool
	if err := s.loop.Do(func() error {
		if s.objects.Past == nil {
			s.objects.Past = map[int][]*symbols.Module{}
		}
		goCode = inferior.AllGo(s.loop.Procs)
		return nil
	}); err != nil {
		return nil, err
	}
	if spec.Name == "latency" || spec.Name == "record" {
		spec.Params.Calls.Go = spec.Params.Calls.Go || goCode
	}
	spec.Params.Open = true
	if spec.Where == handler.Auto && s.opts.Resident {
		spec.Where = handler.Tracee
	}
	tracee := handler.InTracee{File: s.inproc.NewFile}
	if goCode {
		tracee.Stack, tracee.Own = jump.GoStack-16, s.inproc.HaveStacks() // 16 bytes are for the probe's own counter
	}
	o := handler.Options{
		By: by, Context: ctx,
		Params: spec.Params, Where: spec.Where,
		Executors: handler.Executors{Tracee: tracee, Kernel: handler.InKernel{}, Engine: handler.InEngine{}},
	}
	h, err := s.openHandler(spec, o)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// openHandler makes a handler of the registry's, or of a value, ready for this session.
func (s *session) openHandler(spec HandlerSpec, o handler.Options) (*inproc.Handler, error) {
	var in *handler.Instance
	var err error
	if spec.Share != nil {
		of, ok := spec.Share.(*inproc.Handler)
		if !ok || of.Of != s.inproc {
			return nil, fmt.Errorf("%w: its maps are to be another session's", ErrHandler)
		}
		o.Share = of.In
	}
	switch registry := s.opts.Handlers; {
	case spec.Handler != nil && spec.Name != "":
		return nil, errors.New("handler: both a name and a value")
	case spec.Handler != nil:
		in, err = handler.OpenValue(spec.Handler, o)
	case registry != nil:
		in, err = registry.Open(spec.Name, o)
	default:
		in, err = builtins().Open(spec.Name, o)
	}
	if err != nil {
		return nil, err
	}
	h, err := s.inproc.NewHandler(in, o)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	if spec.Handler == nil && s.opts.Handlers == nil {
		h.Kind = spec.Name
	}
	h.Closing = s.withoutHandler
	return h, nil
}

var builtins = sync.OnceValue(handler.New)

// RunHandler implements Session.
func (s *session) RunHandler(spec HandlerSpec, tid int, args ...uint64) (Run, error) {
	return runHandlerFor(s, ownUser(), spec, tid, args...)
}

// runHandlerFor runs a handler with the rights of a peer.
func runHandlerFor(s *session, by handler.Peer, spec HandlerSpec, tid int, args ...uint64) (run Run, err error) {
	spec.Where = handler.Engine
	o, err := openHandlerFor(s, by, spec)
	if err != nil {
		return run, err
	}
	h := o.(*inproc.Handler)
	err = s.loop.Do(func() error {
		t, err := s.loop.Stopped(tid)
		if err != nil {
			return err
		}
		v := h.Variant
		if h.In.Handler.Open && len(args) > 0 {
			return handler.ErrUnbound
		}
		if len(args) == 0 { // the task's own arguments: where they are depends on its function
			if v, err = s.hit.VariantAt(h, t); err != nil {
				return err
			}
		}
		run.Return, err = s.hit.RunOnce(v, t, func(text string) { run.Output = append(run.Output, text) }, args)
		return err
	})
	if err2 := h.Close(); err == nil {
		err = err2
	}
	run.Result, _ = h.Result()
	return run, err
}

// withoutHandler takes a handler away from all probes. When it returns, the last run of the handler
// is over, in the kernel and in programs. After the session's end there is nothing to do.
func (s *session) withoutHandler(h *inproc.Handler) error {
	var links []*kernel.Link
	err := s.loop.Do(func() (err error) {
		links, err = s.plant.WithoutHandler(h)
		return err
	})
	if errors.Is(err, ErrEnded) {
		<-s.done
		return nil
	}
	return errors.Join(err, uprobe.Close(links))
}
