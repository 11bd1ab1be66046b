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

// Front is the server of all users. It traces nothing, and reads nothing that users send or
// own. It asks the kernel who has connected, and hands the connection to a worker of that
// user's: a process, which it starts where there is none. A connection of root's says which worker it
// is for: that of a user, whose processes both share then, or the one with all rights, which
// serves root alone.
type Front struct {
	opts    FrontOptions
	mu      sync.Mutex
	workers map[string]*worker
	start   sync.Mutex           // held while one is started
	last    map[string]time.Time // when the worker of a name was started
	waiting map[uint32]int       // connections whose worker has not got them yet, by user
	program string               // of workers
	ended   bool
	end     sync.Once
	source  *net.UnixListener
}

// FrontOptions of a front.
type FrontOptions struct {
	// Command is the program of a worker, and its arguments but for the last, which is the
	// worker's Identity; it is to call RunWorker. "/proc/self/exe" is this program: of that workers execute
	// a copy that their users can't read.
	Command []string
	Env     []string
}

// maxWorkers is the most workers that there are at a time, maxWaiting how many
// connections of a user wait for one, and often how soon after another the worker of a name is
// started: its user may end it whenever it is there.
const (
	maxWorkers = 64
	maxWaiting = 32
	often      = 100 * time.Millisecond
)

// confinedEnv is set in a process that is confined already.
const confinedEnv = "PTRACER_CONFINED"

// Confine takes from this process, and so from its workers, what no server needs of
// root's rights: it executes the program once more, without them. Call it before anything else.
func Confine() error {
	if os.Getenv(confinedEnv) != "" {
		return os.Unsetenv(confinedEnv)
	}
	return ptrace.Confine(ownProgram, os.Args, append(os.Environ(), confinedEnv+"=1"))
}

const ownProgram = "/proc/self/exe"

// NewFront makes a front that serves nothing yet.
func NewFront(o FrontOptions) *Front {
	return &Front{opts: o, workers: map[string]*worker{}, last: map[string]time.Time{}, waiting: map[uint32]int{}}
}

// Serve hands over who connects, until Close.
func (f *Front) Serve(l *net.UnixListener) error {
	f.mu.Lock()
	f.source = l
	f.mu.Unlock()
	if err := differ(); err != nil {
		return errors.Join(err, l.Close())
	}
	if f.program = f.opts.Command[0]; f.program == ownProgram {
		if copied, err := ptrace.Private(); err == nil { // else workers hide a moment later
			defer copied.Close()
			f.program = procfs.Path(os.Getpid(), fmt.Sprintf("fd/%d", copied.Fd()))
		}
	}
	for {
		c, err := l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return f.Close()
		case err != nil: // no more descriptors
			time.Sleep(10 * time.Millisecond)
		default:
			f.receive(c)
		}
	}
}

// differ makes the size of this process another than that of its workers, which run the same
// program. Who looks for processes that share the front's memory looks for an equal size.
func differ() error {
	_, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	return err
}

// Close ends all workers, and waits until they have let their processes go.
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

// receive finds out who has come, and hands the connection on. It does not wait: one user's
// connections keep nobody else's waiting.
func (f *Front) receive(c *net.UnixConn) {
	p, err := peerOf(c)
	if err == nil {
		err = servable(p)
	}
	uid := p.UID
	if err != nil {
		uid = ^uint32(0) // nobody's: all who are refused wait together
	}
	if !f.wait(uid, 1) {
		c.Close()
		return
	}
	go func() {
		defer f.wait(uid, -1)
		defer c.Close() // the worker has it
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

// wait counts the connections of a user's that wait for a worker; it is false where one more
// would be too many.
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

// servable is whether a worker can act for a peer: it has the peer's user, and is in the
// front's user namespace.
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

// Workers that are nobody's: the kernel lets them do nothing to any process of a user's.
const (
	refusing = "refused" // tells those who are refused why
	keeping  = "names"   // keeps the handlers that users have registered by name, and runs none
	nobody   = 65534
)

// refuse has a worker without any right tell a peer why it is refused.
func (f *Front) refuse(p access.Peer, why error, c *net.UnixConn) {
	f.handTo(refusing, Identity{UID: nobody, GID: nobody}, message{Kind: handedOver, Peer: p, Refused: pack(why)}, c)
}

func (f *Front) hand(who Identity, m message, c *net.UnixConn) { f.handTo(who.name(), who, m, c) }

// handTo hands a connection to the worker of a name, which is started where there is
// none. One that has just ended is replaced.
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

// unhand takes back that a connection is on its way to a worker.
func (f *Front) unhand(w *worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.had--
}

// worker is the one of a name, which is started where there is none. It does not end before
// it has had the connection that it is asked for, or unhand is called.
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

// running is the worker of a name, nil if it is to be started; it is an error where that may
// not be.
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

// listen waits for what a worker says: that it is not used, or that it has ended.
func (f *Front) listen(w *worker) {
	for {
		m, c, err := receive(w.conn)
		if c != nil {
			c.Close() // a worker has none to give
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

// dismiss forgets a worker that says that it is not used; it reports whether it has. One that has not
// had all connections yet is used.
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

// receiveRoot serves root, whose connection may begin with a line:
//
//	PTRACER WORKERS      asks for the names of all workers, a line each
//	PTRACER WORKER PID   asks for the name of that which has a process, or is to have it
//	PTRACER USER NAME    is for the worker of that name
//
// What begins otherwise is for the worker with all rights.
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

// names are those of the workers that serve somebody.
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

// workerOf is whose worker has a process, or is to have it: its user's, if that user may
// trace it without more.
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

// firstLine takes the line for the front from the beginning of a connection, nil where it
// has none; ok is false where nothing comes. The rest is not read.
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

// isForFront is whether what a connection begins with may be a line for the front.
func isForFront(b []byte) bool {
	for _, word := range []string{"PTRACER WORKER", "PTRACER USER "} {
		n := min(len(b), len(word))
		if string(b[:n]) == word[:n] {
			return true
		}
	}
	return false
}

// peek looks at the first bytes of a connection, at most so many, until they are enough. They
// can still be read.
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
