package job

import (
	"context"
	"errors"
	"os"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/flags"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/sharing"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/handler"
)

// Open is the opener of the real thing.
func Open(ctx context.Context, opt *flags.Options, eo engine.Options) (engine.Session, int, error) {
	if len(opt.Command) > 0 {
		sess, err := engine.Start(ctx, engine.Command{Path: opt.Command[0], Args: opt.Command[1:],
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, eo)
		if err != nil {
			return nil, 0, exit.OfStart(opt.Command[0], err)
		}
		return sess, sess.Processes()[0], nil
	}
	sess, err := attach(ctx, opt, eo)
	if err != nil {
		return nil, 0, err
	}
	for _, pid := range opt.PIDs[1:] {
		if err := sharing.AddProcess(sess, pid); err != nil {
			return nil, 0, errors.Join(err, sess.Detach())
		}
	}
	return sess, 0, nil
}

// attach attaches to the first of a verb's processes, by a server that others can
// share, which may have to be started; what a server can't do is done directly.
func attach(ctx context.Context, opt *flags.Options, eo engine.Options) (engine.Session, error) {
	pid := opt.PIDs[0]
	if opt.Direct || opt.Resident || opt.Where == handler.Kernel {
		s, err := engine.Attach(ctx, pid, eo)
		return s, sharing.SharedError(pid, err)
	}
	d := sharing.ServerOf(pid)
	d.Name, d.Start = opt.Name, sharing.StartServer
	s, err := d.Attach(ctx, pid, eo)
	var unreachable *sharing.Unreachable
	if errors.As(err, &unreachable) {
		show.Say(os.Stderr, "%v: no other tracer can share the process", err)
		return engine.Attach(ctx, pid, eo)
	}
	if err != nil {
		return nil, err
	}
	sharing.TellShared(pid, s.Others())
	return s, nil
}
