package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/failure"
)

// Handlers by name, the maps of open handlers, and the rights to use them.

// maxNames is the most handlers that a user may have registered.
const maxNames = 64

// ListHandlers implements wire.ArbiterServer.
func (s registry) ListHandlers(ctx context.Context, _ *wire.ListHandlersRequest) (*wire.ListHandlersReply, error) {
	p, err := asks(ctx)
	if err != nil {
		return nil, err
	}
	reply := &wire.ListHandlersReply{}
	if s.opts.names != nil {
		if reply, err = s.opts.names.ListHandlers(ctx, &wire.ListHandlersRequest{}); err != nil {
			return nil, err
		}
	} else {
		for _, i := range s.names.List() {
			reply.Handlers = append(reply.Handlers, named(i))
		}
	}
	for _, t := range s.all() {
		reply.Opened = append(reply.Opened, t.readable(p)...)
	}
	return reply, nil
}

func named(i handler.Info) *wire.NamedHandler {
	return &wire.NamedHandler{Name: i.Name, Doc: i.Doc, Builtin: i.Builtin, Version: int32(i.Version),
		Uid: i.UID, Gid: i.GID, Mode: uint32(i.Mode), Opened: int32(i.Instances)}
}

// GetHandler implements wire.ArbiterServer.
func (s registry) GetHandler(ctx context.Context, r *wire.GetHandlerRequest) (*wire.GetHandlerReply, error) {
	p, err := asks(ctx)
	if err != nil {
		return nil, err
	}
	if s.opts.names != nil {
		return s.opts.names.GetHandler(ctx, r)
	}
	i, err := s.names.Fetch(r.Name, asPeer(p))
	if err != nil {
		return nil, err
	}
	reply := &wire.GetHandlerReply{Handler: named(i)}
	if i.Handler != nil {
		reply.Context = i.Handler.Context.Arch
		reply.Entry, reply.Exit = wire.FromHandler(i.Handler)
	}
	return reply, nil
}

// know makes the server's own registry learn what a name stands for now. A worker calls it, since
// the name may be another user's.
func (s *Server) know(ctx context.Context, name string) error {
	if i, err := s.names.Lookup(name); s.opts.names == nil || name == "" || err == nil && i.Builtin {
		return nil
	}
	reply, err := s.opts.names.GetHandler(ctx, &wire.GetHandlerRequest{Name: name})
	if err != nil {
		return err
	}
	h, err := wire.ToHandler(reply.Entry, reply.Exit, reply.Context)
	if err != nil {
		return err
	}
	m := reply.Handler
	i, err := s.names.Lookup(name)
	if err == nil && i.Version == int(m.Version) && i.UID == m.Uid {
		return nil
	}
	return s.names.Adopt(handler.Info{Name: name, Version: int(m.Version), Handler: h,
		Access: handler.Access{UID: m.Uid, GID: m.Gid, Mode: handler.Mode(m.Mode), Rights: rights}})
}

// readable returns those of a tracer's handlers that a peer may read.
func (t *tracer) readable(p access.Peer) (list []*wire.OpenedHandler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, o := range t.handlers {
		if o == nil || t.mayRead(p, o) != nil {
			continue
		}
		info := o.Info()
		m := &wire.OpenedHandler{Tracer: int32(t.id), Handler: int32(i + 1), Name: info.Name, Version: int32(info.Version), Uid: t.peer.UID}
		if sh, ok := o.Handler.(engine.SharedHandler); ok {
			m.Params, _ = json.Marshal(sh.Params())
		}
		list = append(list, m)
	}
	return list
}

// mayRead returns an error unless a peer may read the results of a tracer's handler. Only the
// tracer's own user may read those of a built-in handler, which all users may run.
func (t *tracer) mayRead(p access.Peer, o *opened) error {
	if p.Root || p.UID == t.peer.UID && p.NS == t.peer.NS {
		return nil
	}
	sh, ok := o.Handler.(engine.SharedHandler)
	named := o.spec.Handler == nil && !slices.ContainsFunc(builtin.Kinds, func(k builtin.Kind) bool { return k.Name == o.spec.Name })
	if !ok || !named {
		return fmt.Errorf("%w: it is user %d's", handler.ErrPermission, t.peer.UID)
	}
	return sh.MayRead(asPeer(p))
}

// RegisterHandler implements wire.ArbiterServer.
func (s registry) RegisterHandler(ctx context.Context, r *wire.RegisterHandlerRequest) (*wire.Empty, error) {
	p, err := asks(ctx)
	if err != nil {
		return nil, err
	}
	if s.opts.names != nil {
		return s.opts.names.RegisterHandler(ctx, r)
	}
	h, err := wire.ToHandler(r.Entry, r.Exit, r.Context)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, i := range s.names.List() {
		if !i.Builtin && i.UID == p.UID {
			n++
		}
	}
	if n >= maxNames {
		return nil, fmt.Errorf("%w: %d handlers by name", arbiter.ErrQuota, maxNames)
	}
	if r.Mode > 0o777 {
		return nil, fmt.Errorf("%w: mode %#o", wire.ErrMessage, r.Mode)
	}
	return empty, s.names.Register(r.Name, h, handler.Access{UID: p.UID, GID: p.GID, Mode: handler.Mode(r.Mode), Rights: rights})
}

// ReplaceHandler implements wire.ArbiterServer.
func (s registry) ReplaceHandler(ctx context.Context, r *wire.RegisterHandlerRequest) (*wire.Empty, error) {
	p, err := asks(ctx)
	if err != nil {
		return nil, err
	}
	if s.opts.names != nil {
		return s.opts.names.ReplaceHandler(ctx, r)
	}
	h, err := wire.ToHandler(r.Entry, r.Exit, r.Context)
	if err != nil {
		return nil, err
	}
	return empty, s.names.Replace(r.Name, h, asPeer(p))
}

// RemoveHandler implements wire.ArbiterServer.
func (s registry) RemoveHandler(ctx context.Context, r *wire.RemoveHandlerRequest) (*wire.Empty, error) {
	p, err := asks(ctx)
	if err != nil {
		return nil, err
	}
	if s.opts.names != nil {
		return s.opts.names.RemoveHandler(ctx, r)
	}
	return empty, s.names.Remove(r.Name, asPeer(p))
}

// sendMaps sends the file of a handler's maps, open for reading, to a peer that has asked for it by
// "MAPS TOKEN HANDLER", or by "READ TRACER HANDLER" if the handler is another user's. If that
// fails, it sends a line that says why.
func (s *Server) sendMaps(p access.Peer, c *net.UnixConn, request string) {
	_ = c.SetWriteDeadline(time.Now().Add(greeting))
	file, err := s.mapsFor(p, strings.Fields(request))
	if err != nil {
		_, _ = fmt.Fprintf(c, "%v\n", err)
		return
	}
	defer file.Close()
	_, _, _ = c.WriteMsgUnix([]byte{0}, syscall.UnixRights(int(file.Fd())), nil)
}

func (s *Server) mapsFor(p access.Peer, request []string) (*os.File, error) {
	if len(request) != 4 {
		return nil, wire.ErrMessage
	}
	n, err := strconv.ParseInt(request[3], 10, 32)
	if err != nil {
		return nil, wire.ErrMessage
	}
	var t *tracer
	if request[1] == "MAPS" {
		t, err = s.find(p, request[2])
	} else {
		t, err = s.byID(request[2])
	}
	if err != nil {
		return nil, err
	}
	o, err := t.handler(int32(n))
	if err == nil {
		err = t.mayRead(p, o)
	}
	if err != nil {
		return nil, err
	}
	return readable(o.Handler, p)
}

// byID finds a tracer by its public number.
func (s *Server) byID(text string) (*tracer, error) {
	id, err := strconv.Atoi(text)
	for _, t := range s.all() {
		if err == nil && t.id == id {
			return t, nil
		}
	}
	return nil, wire.ErrToken
}

// readable opens the file of a handler's maps for reading. The descriptor that another user gets
// must not allow it to open the file for writing, since files in memory have a mode for all users
// at first.
func readable(h engine.Handler, p access.Peer) (*os.File, error) {
	sh, ok := h.(engine.SharedHandler)
	if !ok {
		return nil, failure.Unsupportedf("a handler of this kind has no file")
	}
	f, err := sh.File()
	if err != nil {
		return nil, err
	}
	if int(p.UID) != os.Geteuid() {
		if err := f.Chmod(0o600); err != nil {
			return nil, err
		}
	}
	return reopen(f)
}

// reopen opens a file again, for reading. The file's tracer may end and close it meanwhile: during
// Control its descriptor can't become another file's.
func reopen(f *os.File) (again *os.File, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	err2 := c.Control(func(fd uintptr) { again, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)) })
	return again, errors.Join(err, err2)
}
