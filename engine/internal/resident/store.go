// Package resident keeps what probes find out that have outlived their session:
// the files in which the maps lie that a process writes by itself, and a note of
// what they mean.
//
// There is a folder for each process, named by its id and the time of its start,
// in a folder of the user's that nobody else may enter, in memory (/dev/shm). It
// is there until it is collected, also after the process has ended.
//
// The package imports nothing that traces.
package resident

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// Errors about folders.
var (
	ErrNone  = errors.New("no probes were left in it")
	ErrNote  = errors.New("the note of the probes that were left is not ours, or another version's: that version's 'ptracer stop' takes them out; if the process has ended, remove the directory")
	ErrOwner = errors.New("not a folder of this user's alone")
)

// Note says what the files of a process mean.
type Note struct {
	Version  int       `json:"version"`
	PID      int       `json:"pid"`
	Start    uint64    `json:"start"` // of the process, clock ticks since boot
	Command  string    `json:"command"`
	Planted  time.Time `json:"planted"`
	Probes   []Probe   `json:"probes"`
	Handlers []Handler `json:"handlers"`
}

// noteVersion is the version of Note.
const noteVersion = 1

// Probe is one probe that was left.
type Probe struct {
	Location string  `json:"location"`
	Handler  int     `json:"handler"` // of Note.Handlers; -1: none
	Places   []Place `json:"places"`
}

// Place is one of its places.
type Place struct {
	Name   string `json:"name"`
	Addr   uint64 `json:"addr"`
	Before uint64 `json:"before"` // what is to be added to the counter, modulo 1<<64
	Exit   bool   `json:"exit,omitempty"`
	File   string `json:"file"` // of the counters
	N      int    `json:"n"`    // of these
	// At is where its patch lies, which is Patch.
	At    uint64 `json:"at,omitempty"`
	Patch []byte `json:"patch,omitempty"`
	Pun   bool   `json:"pun,omitempty"` // how it is served
}

// Handler is a handler that runs there.
type Handler struct {
	Name    string         `json:"name"` // built in; empty: not one of those
	Version int            `json:"version"`
	Params  builtin.Params `json:"params"`
	File    string         `json:"file"`
}

// Store is a process's folder.
type Store struct {
	dir   string
	pid   int
	start uint64
	files int
}

const noteFile = "note.json"

// Create makes the folder of a process. That it is there already, with a note,
// is an error that wraps fs.ErrExist.
func Create(pid int) (*Store, error) {
	start, err := startTime(pid)
	if err != nil {
		return nil, err
	}
	home, err := home()
	if err != nil {
		return nil, err
	}
	sweep(home)
	s := &Store{dir: filepath.Join(home, folderName(pid, start)), pid: pid, start: start}
	if _, err := os.Stat(filepath.Join(s.dir, noteFile)); err == nil {
		return nil, fmt.Errorf("%s: %w", s.dir, fs.ErrExist)
	}
	if err := os.RemoveAll(s.dir); err != nil { // of one who died before it was done
		return nil, err
	}
	return s, os.Mkdir(s.dir, 0o700)
}

func folderName(pid int, start uint64) string { return fmt.Sprintf("%d-%d", pid, start) }

// base is where the users' folders are: in memory, where there is such a place.
func base() string {
	const shm = "/dev/shm"
	if st, err := os.Stat(shm); err == nil && st.IsDir() {
		return shm
	}
	return os.TempDir()
}

const prefix = "ptracer-"

// home is this user's folder, which nobody else may enter.
func home() (string, error) {
	dir := filepath.Join(base(), prefix+strconv.Itoa(os.Geteuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	if !ownedBy(dir, os.Geteuid()) {
		return "", fmt.Errorf("%s: %w", dir, ErrOwner)
	}
	return dir, nil
}

// ownedBy is whether a path is a folder, and no link to one, that nobody but a
// user may enter.
func ownedBy(dir string, uid int) bool {
	st, err := os.Lstat(dir)
	if err != nil {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && st.IsDir() && st.Mode().Perm() == 0o700 && int(sys.Uid) == uid
}

// sweep removes folders without a note of processes that are gone.
func sweep(home string) {
	list, _ := os.ReadDir(home)
	for _, e := range list {
		s, ok := storeOf(filepath.Join(home, e.Name()))
		if !ok || s.Alive() {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.dir, noteFile)); errors.Is(err, fs.ErrNotExist) {
			_ = os.RemoveAll(s.dir)
		}
	}
}

// storeOf is the store in a folder, as its name says; the folder and the one it
// is in have to be of the user whom that is named after.
func storeOf(dir string) (*Store, bool) {
	uid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), prefix))
	if err != nil || !ownedBy(dir, uid) || !ownedBy(filepath.Dir(dir), uid) {
		return nil, false
	}
	s := &Store{dir: dir}
	pid, start, ok := strings.Cut(filepath.Base(dir), "-")
	var err1, err2 error
	s.pid, err1 = strconv.Atoi(pid)
	s.start, err2 = strconv.ParseUint(start, 10, 64)
	return s, ok && err1 == nil && err2 == nil && strings.HasPrefix(filepath.Base(filepath.Dir(dir)), prefix)
}

// Dir is the folder's path.
func (s *Store) Dir() string { return s.dir }

// PID is the process's id.
func (s *Store) PID() int { return s.pid }

// Alive is whether the process still exists.
func (s *Store) Alive() bool {
	start, err := startTime(s.pid)
	return err == nil && start == s.start
}

// NewFile makes an empty file.
func (s *Store) NewFile() (*os.File, error) {
	s.files++
	return os.OpenFile(filepath.Join(s.dir, fmt.Sprintf("maps-%d", s.files)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// Open opens a file that a note names.
func (s *Store) Open(name string) (*os.File, error) {
	if name != filepath.Base(name) {
		return nil, fmt.Errorf("%q: %w", name, ErrNote)
	}
	return os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR|syscall.O_NOFOLLOW, 0)
}

// Save writes the note, all of it or nothing.
func (s *Store) Save(n Note) error {
	n.Version, n.PID, n.Start = noteVersion, s.pid, s.start
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	tmp := filepath.Join(s.dir, noteFile+".new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(s.dir, noteFile))
}

// Load reads the note.
func (s *Store) Load() (n Note, err error) {
	b, err := os.ReadFile(filepath.Join(s.dir, noteFile))
	if errors.Is(err, fs.ErrNotExist) {
		return n, ErrNone
	}
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(b, &n); err != nil || n.Version != noteVersion {
		return n, fmt.Errorf("%s: %w", s.dir, ErrNote)
	}
	for _, p := range n.Probes {
		if p.Handler >= len(n.Handlers) {
			return n, fmt.Errorf("%s: %w", s.dir, ErrNote)
		}
	}
	return n, nil
}

// Remove removes the folder and all in it.
func (s *Store) Remove() error {
	err := os.RemoveAll(s.dir)
	_ = os.Remove(filepath.Dir(s.dir)) // if it was the last one
	return err
}

// Find is the folder of a process: of one that is there by what it has mapped,
// which a process has, too, that was forked by that whose id is said. An error
// wraps ErrNone if there is none.
func Find(pid int) (*Store, error) {
	if dir := Mapped(pid); dir != "" {
		if s, ok := storeOf(dir); ok {
			return s, nil
		}
	}
	list, err := List()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(s *Store) bool { return s.pid != pid })
	if len(list) == 0 {
		return nil, fmt.Errorf("process %d: %w", pid, ErrNone)
	}
	return list[len(list)-1], nil
}

// Mapped is the folder whose files a process has mapped, empty if there is none.
func Mapped(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		_, path, ok := strings.Cut(line, " /")
		path = "/" + strings.TrimSuffix(strings.TrimSuffix(path, "\n"), " (deleted)")
		if ok && strings.HasPrefix(path, filepath.Join(base(), prefix)) && strings.HasPrefix(filepath.Base(path), "maps-") {
			return filepath.Dir(path)
		}
	}
	return ""
}

// List are the folders with a note that we may look into, by process, those of
// the same id by the time of their start.
func List() (list []*Store, err error) {
	dirs, err := filepath.Glob(filepath.Join(base(), prefix+"*", "*-*", noteFile))
	for _, d := range dirs {
		if s, ok := storeOf(filepath.Dir(d)); ok {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *Store) int { return cmp.Or(cmp.Compare(a.pid, b.pid), cmp.Compare(a.start, b.start)) })
	return list, err
}

// startTime is when a process was started, in clock ticks since boot (proc(5),
// the 22nd number of /proc/PID/stat).
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	f := strings.Fields(rest)
	if !ok || len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return 0, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return strconv.ParseUint(f[19], 10, 64)
}
