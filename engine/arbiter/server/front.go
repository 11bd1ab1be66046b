package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/arbiter/wire"
	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/printable"
	"github.com/ptracer/ptracer/procfs"
)

// Front is the server of all users. It traces nothing, and reads no data that users send or own. It
// asks the kernel which user has connected, and hands the connection to that user's worker: a
// process, which it starts if there is none. A connection of root's says which worker it is for:
// that of a user, so that both share the user's processes, or the worker with all rights, which
// serves root alone.
type Front struct {
	opts    FrontOptions
	mu      sync.Mutex
	workers map[string]*worker
	start   sync.Mutex           // held while one is started
	last    map[string]time.Time // when the worker of a name was started
	waiting map[uint32]int       // by user: connections that have not reached their worker yet
	program string               // of workers
	ended   bool
	end     sync.Once
	source  *net.UnixListener
}

// FrontOptions configures a front.
type FrontOptions struct {
	// Command is the program of a worker and its arguments, except the last, which is the worker's
	// Identity. The program must call RunWorker. "/proc/self/exe" means this program: workers then
	// execute a copy of it that their users can't read.
	Command []string
	Env     []string
}

// maxWorkers is the most workers at a time, and maxWaiting the most connections of a user that wait
// for one. often is the least time between two starts of a worker of the same name: its user may
// kill it at any time.
const (
	maxWorkers = 64
	maxWaiting = 32
	often      = 100 * time.Millisecond
)

// confinedEnv is set in a process that is already confined.
const confinedEnv = "PTRACER_CONFINED"

// Confine gives up, for this process and so for its workers, those of root's rights that no server
// needs: it executes the program again without them. The program must call it before anything else.
func Confine() error {
	if os.Getenv(confinedEnv) != "" {
		return os.Unsetenv(confinedEnv)
	}
	return ptrace.Confine(ownProgram, os.Args, append(os.Environ(), confinedEnv+"=1"))
}

const ownProgram = "/proc/self/exe"

// NewFront makes a front that does not serve yet.
func NewFront(o FrontOptions) *Front {
	return &Front{opts: o, workers: map[string]*worker{}, last: map[string]time.Time{}, waiting: map[uint32]int{}}
}

// Serve hands connections to workers, until Close. It closes the listener.
func (f *Front) Serve(l *net.UnixListener) error {
	f.mu.Lock()
	f.source = l
	ended := f.ended
	f.mu.Unlock()
	if ended { // Close has come first, and did not know the listener
		err := l.Close()
		_ = f.Close() // waits until the workers have ended
		return err
	}
	if err := differ(); err != nil {
		return errors.Join(err, l.Close())
	}
	if f.program = f.opts.Command[0]; f.program == ownProgram {
		if copied, err := ptrace.Private(); err == nil { // else workers hide themselves a moment later
			defer copied.Close()
			f.program = procfs.Path(os.Getpid(), fmt.Sprintf("fd/%d", copied.Fd()))
		}
	}
	for {
		c, err := l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return f.Close()
		case err != nil: // no descriptors left
			time.Sleep(10 * time.Millisecond)
		default:
			f.receive(c)
		}
	}
}

// differ makes this process differ in size from its workers, which run the same program. A search
// for processes that share the front's memory looks for an equal size.
func differ() error {
	_, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	return err
}

// Close ends all workers, and waits until they have detached from their processes.
func (f *Front) Close() error {
	f.end.Do(func() {
		f.mu.Lock()
		f.ended = true
		list := f.workers
		f.workers = map[string]*worker{}
		if f.source != nil {
			f.source.Close()
		}
		f.mu.Unlock()
		var wg sync.WaitGroup
		for _, w := range list {
			wg.Go(func() { _ = w.end() })
		}
		wg.Wait()
	})
	return nil
}

// receive finds out which user has connected, and hands the connection on. It does so on a
// goroutine of its own, so that one user's connections do not delay another's.
func (f *Front) receive(c *net.UnixConn) {
	p, err := peerOf(c)
	if err == nil {
		err = servable(p)
	}
	uid := p.UID
	if err != nil {
		uid = ^uint32(0) // no user's: all refused connections wait together
	}
	if !f.wait(uid, 1) {
		c.Close()
		return
	}
	go func() {
		defer f.wait(uid, -1)
		defer c.Close() // the worker has a copy
		switch {
		case err != nil:
			f.refuse(p, err, c)
		case p.Root:
			f.receiveRoot(p, c)
		default:
			f.hand(Identity{UID: p.UID, GID: p.GID, Groups: p.GIDs}, message{Kind: handedOver, Peer: p}, c)
		}
	}()
}

// wait counts the connections of a user that wait for a worker; it returns false if one more would
// be too many.
func (f *Front) wait(uid uint32, n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting[uid]+n > maxWaiting {
		return false
	}
	if f.waiting[uid] += n; f.waiting[uid] == 0 {
		delete(f.waiting, uid)
	}
	return true
}

// servable returns an error unless a worker can act for a peer: the peer has the worker's user, and
// is in the front's user namespace.
func servable(p access.Peer) error {
	switch {
	case p.NS == "":
		return fmt.Errorf("%w: the ids of process %d differ from each other, or have changed", wire.ErrPeer, p.PID)
	case p.NS != access.OwnNamespace():
		return fmt.Errorf("%w: process %d is in a user namespace of its own: run a ptracer in there", engine.ErrNamespace, p.PID)
	case p.UID == 0 && !p.Root:
		return fmt.Errorf("%w: process %d is root's, without CAP_SYS_PTRACE", engine.ErrCapability, p.PID)
	}
	return nil
}

// Workers that belong to no user: the kernel lets them do nothing to any user's process.
const (
	refusing = "refused" // tells refused peers the reason
	keeping  = "names"   // keeps the handlers that users have registered by name, and runs none
	nobody   = 65534
)

// refuse has a worker without any rights tell a peer why it is refused.
func (f *Front) refuse(p access.Peer, why error, c *net.UnixConn) {
	f.handTo(refusing, Identity{UID: nobody, GID: nobody}, message{Kind: handedOver, Peer: p, Refused: pack(why)}, c)
}

func (f *Front) hand(who Identity, m message, c *net.UnixConn) { f.handTo(who.name(), who, m, c) }

// handTo hands a connection to the worker with a name, which is started if there is none. A worker
// that has just ended is replaced.
func (f *Front) handTo(name string, who Identity, m message, c *net.UnixConn) {
	for range 2 {
		w, err := f.worker(name, who)
		if err != nil {
			_ = printable.Printf(os.Stderr, "ptracer: worker %s: %v", name, err)
			return
		}
		if err = w.give(m, c); err == nil {
			return
		}
		f.unhand(w)
		if !hasEnded(err) {
			return
		}
		f.drop(w)
	}
}

// unhand records that a connection will not be handed to a worker after all.
func (f *Front) unhand(w *worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.had--
}

// worker returns the worker with a name, which is started if there is none. The worker does not end
// before it has received the connection that the caller has for it, or unhand is called.
func (f *Front) worker(name string, who Identity) (*worker, error) {
	if w, err := f.running(name, who); w != nil || err != nil {
		return w, err
	}
	f.mu.Lock()
	again := time.Until(f.last[name].Add(often))
	f.mu.Unlock()
	time.Sleep(again)
	var names *os.File
	if name != keeping && name != refusing {
		mine, theirs, err := pair(syscall.SOCK_STREAM)
		if err != nil {
			return nil, err
		}
		defer mine.Close()
		defer theirs.Close()
		f.handTo(keeping, Identity{UID: nobody, GID: nobody}, message{Kind: handedOver,
			Peer: access.Peer{UID: who.UID, GID: who.GID, GIDs: who.Groups, Root: who.Root, NS: access.OwnNamespace()}}, mine)
		names = theirs
	}
	f.start.Lock()
	defer f.start.Unlock()
	if w, err := f.running(name, who); w != nil || err != nil {
		return w, err
	}
	f.mu.Lock()
	f.last[name] = time.Now()
	f.mu.Unlock()
	w, err := startWorker(name, who, names, f.program, f.opts)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	w.had++
	f.workers[name] = w
	f.mu.Unlock()
	go f.listen(w)
	return w, nil
}

// running returns the worker with a name, or nil if it must be started. It returns an error if it
// may not be started.
func (f *Front) running(name string, who Identity) (*worker, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch w := f.workers[name]; {
	case w != nil:
		w.had++
		return w, nil
	case f.ended:
		return nil, arbiter.ErrClosed
	case len(f.workers) >= maxWorkers && !who.Root:
		return nil, fmt.Errorf("%w: %d users at once", arbiter.ErrQuota, maxWorkers)
	}
	return nil, nil
}

// listen waits for a worker's messages: that it is unused, or that it has ended.
func (f *Front) listen(w *worker) {
	for {
		m, c, err := receive(w.conn)
		if c != nil {
			c.Close() // a worker should send none
		}
		if err != nil {
			break
		}
		if m.Kind == unused && w.name != keeping && f.dismiss(w, m.Had) {
			w.say(farewell)
		}
	}
	f.drop(w)
	_ = w.wait()
}

// dismiss forgets a worker that says it is unused, and reports whether it has. A worker that has
// not received all its connections yet is kept.
func (f *Front) dismiss(w *worker, had int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.workers[w.name] != w || w.had != had {
		return false
	}
	delete(f.workers, w.name)
	return true
}

// drop forgets a worker that has ended.
func (f *Front) drop(w *worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.workers[w.name] == w {
		delete(f.workers, w.name)
	}
}

// receiveRoot serves root. Root's connection may begin with a line:
//
//	PTRACER WORKERS      asks for the names of all workers, a line each
//	PTRACER WORKER PID   asks for the name of the worker for a process
//	PTRACER USER NAME    is for the worker of that name
//
// Any other connection is for the worker with all rights.
func (f *Front) receiveRoot(p access.Peer, c *net.UnixConn) {
	_ = c.SetDeadline(time.Now().Add(greeting))
	who := Identity{Root: true}
	words, ok := firstLine(c)
	switch {
	case !ok:
		return
	case len(words) == 2 && words[1] == "WORKERS":
		_, _ = c.Write([]byte(strings.Join(f.names(), "\n") + "\n"))
		return
	case len(words) == 3 && words[1] == "WORKER":
		pid, _ := strconv.Atoi(words[2])
		who := f.workerOf(pid)
		if w, err := f.worker(who.name(), who); err == nil {
			defer f.unhand(w)
			_, _ = c.Write([]byte(who.name() + "\n"))
		}
		return
	case len(words) == 3 && words[1] == "USER":
		var err error
		if who, err = ParseIdentity(words[2]); err != nil {
			return
		}
	}
	_ = c.SetDeadline(time.Time{})
	f.hand(who, message{Kind: handedOver, Peer: p}, c)
}

// names lists the workers that serve a user.
func (f *Front) names() (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.workers {
		if name != refusing && name != keeping {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// workerOf returns the identity of the worker that has a process, or should have it: that of its
// user, if that user may trace it without further rights.
func (f *Front) workerOf(pid int) Identity {
	owner, tracer, sealed := access.OwnerOf(pid)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.workers {
		if tracer != 0 && w.pid() == tracer {
			return w.who
		}
	}
	if owner.UID == 0 || sealed || owner.NS != access.OwnNamespace() || access.MayTrace(owner, pid) != nil {
		return Identity{Root: true}
	}
	return Identity{UID: owner.UID, GID: owner.GID, Groups: owner.GIDs}
}

// firstLine reads the line for the front from the beginning of a connection; words is nil if there
// is none. ok is false if no data comes. The rest is not read.
func firstLine(c *net.UnixConn) (words []string, ok bool) {
	const most = 100
	line := peek(c, most, func(b []byte) bool { return !isForFront(b) || slices.Contains(b, '\n') })
	n := slices.Index(line, '\n')
	if !isForFront(line) || n < 0 {
		return nil, len(line) > 0
	}
	if _, err := c.Read(line[:n+1]); err != nil {
		return nil, false
	}
	return strings.Fields(string(line[:n])), true
}

// isForFront reports whether the beginning of a connection may be a line for the front.
func isForFront(b []byte) bool {
	for _, word := range []string{"PTRACER WORKER", "PTRACER USER "} {
		n := min(len(b), len(word))
		if string(b[:n]) == word[:n] {
			return true
		}
	}
	return false
}

// peek returns the first bytes of a connection, at most most, as soon as they are enough. They can
// still be read.
func peek(c *net.UnixConn, most int, enough func([]byte) bool) []byte {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	b, n := make([]byte, most), 0
	_ = raw.Read(func(fd uintptr) bool {
		k, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
			return false
		}
		grown := k > n
		n = max(k, 0)
		return !grown || n == most || enough(b[:n])
	})
	return b[:n]
}
