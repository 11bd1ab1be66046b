package contender

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ptracer/ptracer/bench/internal/target"
)

// tracing is the mount point of tracefs since Linux 4.1.
const tracing = "/sys/kernel/tracing"

// tracefs is a thread that has tracefs: the machine's or, if that is not mounted, one in a mount
// namespace of the thread's own, which no other thread sees and which ends with the thread.
type tracefs struct {
	work chan func()
	over chan struct{}
}

func openTracefs() (*tracefs, error) {
	t := &tracefs{work: make(chan func()), over: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(t.over)
		runtime.LockOSThread() // the thread ends with this goroutine
		err := mountTracefs()
		if ready <- err; err != nil {
			return
		}
		for f := range t.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	return t, nil
}

func mountTracefs() error {
	_, err := os.Stat(filepath.Join(tracing, "uprobe_events"))
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: no right to use tracefs: needs root (%w)", ErrMissing, err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("%w: tracefs is not mounted, and to mount it needs root (unshare: %w)", ErrMissing, err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: tracefs is not mounted, and can't be (mount: %w)", ErrMissing, err)
	}
	if err := unix.Mount("tracefs", tracing, "tracefs", 0, ""); err != nil {
		return fmt.Errorf("%w: tracefs is not mounted, and can't be (mount: %w)", ErrMissing, err)
	}
	if _, err := os.Stat(filepath.Join(tracing, "uprobe_events")); err != nil {
		return fmt.Errorf("%w: the kernel was built without uprobe events (%w)", ErrMissing, err)
	}
	return nil
}

// do runs f on the thread.
func (t *tracefs) do(f func() error) error {
	result := make(chan error)
	t.work <- func() { result <- f() }
	return <-result
}

func (t *tracefs) close() {
	close(t.work)
	<-t.over
}

// Event counts with a uprobe event of tracefs, in a trace instance of its own.
func Event(p *target.Process, s target.Site) (Probe, error) {
	t, err := openTracefs()
	if err != nil {
		return nil, err
	}
	e := event{fs: t, group: "ptracer_bench_" + strconv.Itoa(p.PID), path: p.Program.Path}
	if err := t.do(func() error { return e.make(target.Offset(s.Addr)) }); err != nil {
		return nil, errors.Join(fmt.Errorf("uprobe event: %w", err), e.Close())
	}
	return &e, nil
}

// event is a uprobe event; only the measured program has its file.
type event struct {
	fs    *tracefs
	group string
	path  string // of the program
	made  bool   // there is something to remove
}

func (e *event) instance() string { return filepath.Join(tracing, "instances", e.group) }

func (e *event) make(offset uint64) error {
	if strings.ContainsAny(e.path, ": \t\n") {
		return fmt.Errorf("%w: its path has a character that the kernel takes for another word's: %q: set TMPDIR", ErrMissing, e.path)
	}
	if err := tell("uprobe_events", fmt.Sprintf("p:%s/hit %s:%#x", e.group, e.path, offset)); err != nil {
		return err
	}
	e.made = true
	if err := os.Mkdir(e.instance(), 0o700); err != nil {
		return err
	}
	return tell(filepath.Join("instances", e.group, "events", e.group, "hit", "enable"), "1")
}

// Hits reads the event's line of uprobe_profile: file, event, hits, and since Linux 6.12 misses.
func (e *event) Hits() (n uint64, err error) {
	err = e.fs.do(func() error {
		b, err := os.ReadFile(filepath.Join(tracing, "uprobe_profile"))
		if err != nil {
			return err
		}
		n, err = profiled(string(b), e.path)
		return err
	})
	return n, err
}

// profiled finds the hits of an event in uprobe_profile. The names of events there have no groups:
// the file tells them apart.
func profiled(profile, file string) (uint64, error) {
	for line := range strings.Lines(profile) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == file {
			return strconv.ParseUint(f[2], 10, 64)
		}
	}
	return 0, errors.New("the event is not in uprobe_profile")
}

func (e *event) Close() error {
	defer e.fs.close()
	return e.fs.do(func() (err error) {
		if _, statErr := os.Stat(e.instance()); statErr == nil {
			err = errors.Join(tell(filepath.Join("instances", e.group, "events", e.group, "hit", "enable"), "0"), unix.Rmdir(e.instance()))
		}
		if e.made {
			err = errors.Join(err, tell("uprobe_events", "-:"+e.group+"/hit"))
		}
		return err
	})
}

// tell writes a line to a file of tracefs, without truncation, which would remove other events.
func tell(file, line string) error {
	f, err := os.OpenFile(filepath.Join(tracing, file), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}
