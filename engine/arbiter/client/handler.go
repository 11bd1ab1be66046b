package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/failure"
)

// handle is a handler that the server has opened for this client. The handler's maps are mapped in
// this process, read-only.
type handle struct {
	s      *Session
	number int32
	info   engine.HandlerInfo
	made   *build.Handler // how to read the maps
	set    *maps.Set
	reader *ring.Reader // nil: no ring
	spec   engine.HandlerSpec
	shapes []*build.Handler // how to read records of each form; for the reader of records

	reading sync.Mutex // held while the maps must stay mapped
	mu      sync.Mutex
	closed  bool
	since   int64        // when last read
	last    build.Result // the result when it was closed
	limits  []builtin.LimitState
	unread  uint64
}

var _ engine.Handler = (*handle)(nil)

// OpenHandler implements engine.Session.
func (s *Session) OpenHandler(spec engine.HandlerSpec) (engine.Handler, error) {
	if spec.Where == handler.Kernel {
		return nil, failure.Unsupportedf("handlers in the kernel, by a server")
	}
	r := &wire.OpenHandlerRequest{Token: s.token, Name: spec.Name, Where: spec.Where.String(), Context: s.isa.Name()}
	if spec.Handler != nil {
		r.Entry, r.Exit = wire.FromHandler(spec.Handler)
	}
	if spec.Share != nil {
		of, ok := spec.Share.(*handle)
		if !ok || of.s != s {
			return nil, fmt.Errorf("%w: its maps are to be another session's", engine.ErrHandler)
		}
		r.Share = of.number
	}
	var err error
	if r.Params, err = json.Marshal(spec.Params); err != nil {
		return nil, err
	}
	reply, err := call(s.api.OpenHandler, r)
	if err != nil {
		return nil, err
	}
	h := &handle{s: s, number: reply.Handler, info: engine.HandlerInfo{Name: reply.Name, Version: int(reply.Version), Why: reply.Why,
		Steps: int(reply.Steps), Records: reply.Records, Writes: reply.Writes}}
	h.info.Where, _ = handler.ParseWhere(reply.Where)
	if err := h.open(spec, reply.Params); err != nil {
		_, err2 := call(s.api.CloseHandler, h.request())
		return nil, errors.Join(err, err2)
	}
	return h, nil
}

func (h *handle) request() *wire.HandlerRequest {
	return &wire.HandlerRequest{Token: h.s.token, Handler: h.number}
}

// open maps the handler's maps and finds out how to read them.
func (h *handle) open(spec engine.HandlerSpec, params []byte) error {
	p := spec.Params
	if err := json.Unmarshal(params, &p); err != nil {
		return fmt.Errorf("handler %s: what the server has made of its parameters: %w", h.info.Name, err)
	}
	h.spec = spec
	var err error
	if h.made, err = meaning(spec, p, h.s.isa.Name()); err != nil {
		return err
	}
	if err := h.mapFrom(fmt.Sprintf("PTRACER MAPS %s %d\n", h.s.token, h.number)); err != nil {
		return err
	}
	for i := range h.set.Len() {
		if r := h.set.Map(i).Ring(); r != nil && h.info.Records {
			h.reader = ring.NewFarReader(r, h.take)
			break
		}
	}
	return nil
}

// mapFrom maps, read-only, the file that the server sends for a request.
func (h *handle) mapFrom(request string) error {
	file, err := h.s.fetch(request)
	if err != nil {
		return err
	}
	if h.set, err = maps.OpenToRead(file); err != nil {
		file.Close()
	}
	return err
}

// meaning returns the handler that the server runs, for its Read and Decode.
func meaning(spec engine.HandlerSpec, p builtin.Params, isa string) (*build.Handler, error) {
	ctx, err := program.ContextOf(isa)
	if err != nil {
		return nil, err
	}
	if h := spec.Handler; h != nil {
		return p.Before(h)
	}
	for _, k := range builtin.Kinds {
		if k.Name == spec.Name {
			return k.Make(ctx, p)
		}
	}
	return &build.Handler{Name: spec.Name, Context: ctx}, nil
}

// fetch gets a file from the server.
func (l *link) fetch(request string) (*os.File, error) {
	c, err := l.knock()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write([]byte(request)); err != nil {
		return nil, err
	}
	fd, err := receiveFD(c)
	if err != nil {
		return nil, fmt.Errorf("the handler's maps, from the server: %w", err)
	}
	return os.NewFile(uintptr(fd), "maps"), nil
}

func receiveFD(c *net.UnixConn) (int, error) {
	b, oob := make([]byte, 500), make([]byte, syscall.CmsgSpace(4))
	k, n, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, fmt.Errorf("it says: %s", strings.TrimSpace(string(b[:k])))
	}
	list, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil || len(list) != 1 {
		return 0, errors.Join(errors.New("no file came"), err)
	}
	fds, err := syscall.ParseUnixRights(&list[0])
	if err != nil || len(fds) != 1 {
		return 0, errors.Join(errors.New("no file came"), err)
	}
	return fds[0], nil
}

// take tells the server how far records have been read. After the tracer's end the records' space
// is not released, and not needed.
func (h *handle) take(pos uint64) uint64 {
	reply, err := call(h.s.api.TakeRecords, &wire.TakeRecordsRequest{Token: h.s.token, Handler: h.number, Position: pos})
	if err != nil {
		return 0
	}
	return reply.Position
}

// Info implements engine.Handler.
func (h *handle) Info() engine.HandlerInfo {
	i := h.info
	if reply, err := call(h.s.api.HandlerState, h.request()); err == nil {
		i.Failures = reply.Failures
	}
	return i
}

// Result implements engine.Handler.
func (h *handle) Result() (build.Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return h.last, nil
	}
	return h.read()
}

func (h *handle) read() (build.Result, error) {
	if h.made.Read != nil {
		return h.made.Read(h.set)
	}
	specs := make([]program.Map, h.set.Len())
	for i := range specs {
		specs[i] = h.set.Map(i).Spec()
	}
	return build.DumpOf(h.set, specs), nil
}

// Entries implements engine.Handler.
func (h *handle) Entries(name string) iter.Seq2[[]byte, [][]byte] {
	return func(yield func([]byte, [][]byte) bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.closed {
			return
		}
		for key, values := range h.set.Entries(name) {
			if !yield(key, values) {
				return
			}
		}
	}
}

// slice is the longest time between two checks whether the handler was closed.
const slice = 50 * time.Millisecond

// Read implements engine.Handler.
func (h *handle) Read(deadline time.Time) ([]byte, error) {
	h.reading.Lock()
	defer h.reading.Unlock()
	for {
		if h.reader == nil || h.isClosed() {
			return nil, os.ErrClosed
		}
		until := time.Now().Add(slice)
		if until.After(deadline) {
			until = deadline
		}
		record, err := h.reader.Read(until)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(deadline) {
			return record, err
		}
	}
}

func (h *handle) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// Decode implements engine.Handler.
func (h *handle) Decode(record []byte) (build.Result, error) {
	made := h.made
	if h.made.Open {
		var err error
		if made, err = h.shape(int(builtin.ShapeOf(record))); err != nil {
			return nil, err
		}
	}
	if made.Decode == nil {
		return nil, fmt.Errorf("%w: those of %s are not known", builtin.ErrRecord, h.info.Name)
	}
	return made.Decode(record)
}

// shape returns how to read records of a form, which it asks the server for.
func (h *handle) shape(n int) (*build.Handler, error) {
	h.reading.Lock()
	defer h.reading.Unlock()
	for n > len(h.shapes) {
		reply, err := call(h.s.api.HandlerShapes, &wire.HandlerShapesRequest{Token: h.s.token, Handler: h.number, From: int32(len(h.shapes))})
		if err != nil {
			return nil, err
		}
		if len(reply.Params) == 0 {
			break
		}
		for _, text := range reply.Params {
			var p builtin.Params
			if err := json.Unmarshal(text, &p); err != nil {
				return nil, fmt.Errorf("handler %s: a form of its records: %w", h.info.Name, err)
			}
			made, err := meaning(h.spec, p, h.s.isa.Name())
			if err != nil {
				return nil, err
			}
			h.shapes = append(h.shapes, made)
		}
	}
	if n < 1 || n > len(h.shapes) {
		return nil, fmt.Errorf("%w: of a form that the server does not know", builtin.ErrRecord)
	}
	return h.shapes[n-1], nil
}

// Since implements engine.Handler.
func (h *handle) Since() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.since = h.set.Begun()
	}
	return h.since
}

// Lost implements engine.Handler.
func (h *handle) Lost() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == nil || h.closed {
		return 0
	}
	return h.reader.Lost()
}

// Limits implements engine.Handler.
func (h *handle) Limits() []builtin.LimitState {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return h.limits
	}
	return h.readLimits()
}

// Unread implements engine.Handler.
func (h *handle) Unread() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.unread = builtin.ReadUnread(h.set, h.made.Guards)
	}
	return h.unread
}

func (h *handle) readLimits() (list []builtin.LimitState) {
	for _, g := range h.made.Guards {
		if g.Kind == "limit" {
			list = append(list, builtin.ReadLimit(h.set, g))
		}
	}
	return list
}

// Close implements engine.Handler.
func (h *handle) Close() error {
	_, err := call(h.s.api.CloseHandler, h.request()) // the last hits have ended after this
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return os.ErrClosed
	}
	var err2 error
	h.last, err2 = h.read()
	h.limits = h.readLimits()
	h.unread = builtin.ReadUnread(h.set, h.made.Guards)
	h.closed = true
	h.mu.Unlock()
	h.reading.Lock()
	defer h.reading.Unlock()
	return errors.Join(err, err2, h.set.Close())
}
