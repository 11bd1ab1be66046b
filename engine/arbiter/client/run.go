package client

import (
	"errors"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/handler"
)

// RunHandler implements engine.Session. It opens the handler for this run, so that this process can
// read the result, too.
func (s *Session) RunHandler(spec engine.HandlerSpec, tid int, args ...uint64) (run engine.Run, err error) {
	if spec.Share == nil {
		spec.Where = handler.Engine
	}
	o, err := s.OpenHandler(spec)
	if err != nil {
		return run, err
	}
	h := o.(*handle)
	reply, err := call(s.api.RunHandler, &wire.RunHandlerRequest{Token: s.token, Handler: h.number, Tid: wire.Narrow(tid), Args: args})
	run.Return, run.Output = reply.GetValue(), wire.ToStrings(reply.GetOutput())
	err = errors.Join(err, h.Close())
	run.Result, _ = h.Result()
	return run, err
}
