// Package resident keeps what probes find out that have outlived their session:
// the files in which the maps lie that a process writes by itself, and a note of
// what they mean.
//
// There is a folder for each process, named by its id and the time of its start,
// in a folder of the user's that nobody else may enter, in memory (/dev/shm). It
// is there until it is collected, also after the process has ended.
//
// Any user can make such folders, for any process. What is in one counts only where
// its owner is the reader, or the user whose the process is: nobody else could have
// left probes in it (folder.go).
//
// The package imports nothing that traces.
package resident

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/procfs"
	"github.com/ptracer/ptracer/symbols/objfile"
)

// Errors about folders.
var (
	ErrNone  = errors.New("no probes were left in it")
	ErrNote  = errors.New("the note of the probes that were left is not ptracer's, or another version's: that version's 'ptracer stop' takes them out; if the process has ended, remove the directory")
	ErrOwner = errors.New("not of this user alone")
	ErrLarge = errors.New("too large")
)

// How large a note may be, in bytes: half a million places. Another user's may be made to
// take as much memory as can be: some ten thousand, and maps of so many bytes.
const (
	maxNote     = 64 << 20
	foreignNote = 4 << 20
	foreignMaps = 256 << 20
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
	uid   int // whose folder it is
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
	s := &Store{dir: filepath.Join(home, folderName(pid, start)), uid: os.Geteuid(), pid: pid, start: start}
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
	f, err := openFolder(dir, os.Geteuid())
	if err != nil {
		return "", err
	}
	return dir, f.Close()
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

// storeOf is the store in a folder, as its name and that of the folder it is in say.
func storeOf(dir string) (*Store, bool) {
	user, named := strings.CutPrefix(filepath.Base(filepath.Dir(dir)), prefix)
	pid, start, ok := strings.Cut(filepath.Base(dir), "-")
	s := &Store{dir: dir}
	var err1, err2, err3 error
	s.uid, err1 = strconv.Atoi(user)
	s.pid, err2 = strconv.Atoi(pid)
	s.start, err3 = strconv.ParseUint(start, 10, 64)
	return s, named && ok && errors.Join(err1, err2, err3) == nil
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
	return s.openMaps(name, os.O_RDWR)
}

// foreign is whether it is another user's than the reader's.
func (s *Store) foreign() bool { return s.uid != os.Geteuid() }

// Save writes the note, all of it or nothing.
func (s *Store) Save(n Note) error {
	n.Version, n.PID, n.Start = noteVersion, s.pid, s.start
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if len(b) > maxNote {
		return fmt.Errorf("the note of the probes is %w: %d bytes, of which there may be %d; leave fewer", ErrLarge, len(b), maxNote)
	}
	tmp := filepath.Join(s.dir, noteFile+".new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(s.dir, noteFile))
}

// Load reads the note.
func (s *Store) Load() (n Note, err error) {
	b, err := s.readNote()
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

func (s *Store) readNote() ([]byte, error) {
	most := int64(maxNote)
	if s.foreign() {
		most = foreignNote
	}
	f, err := s.open(noteFile, os.O_RDONLY, most)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// Remove removes the folder and all in it. One that is gone has been removed.
func (s *Store) Remove() error {
	home, err := openFolder(filepath.Dir(s.dir), s.uid)
	if errors.Is(err, fs.ErrNotExist) { // it was the last one of its user's
		return nil
	}
	if err != nil {
		return err
	}
	defer home.Close()
	err = os.RemoveAll(within(home, filepath.Base(s.dir)))
	_ = os.Remove(filepath.Dir(s.dir)) // if it was the last one
	return err
}

// Find is the folder of a process: of one that is there by what it has mapped,
// which a process has, too, that was forked by that whose id is said. An error
// wraps ErrNone if there is none.
func Find(pid int) (*Store, error) {
	if s := mapped(pid); s != nil {
		return s, nil
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
	if s := mapped(pid); s != nil {
		return s.dir
	}
	return ""
}

func mapped(pid int) *Store {
	maps, err := procfs.Maps(pid)
	if err != nil {
		return nil
	}
	for _, m := range maps {
		if !strings.HasPrefix(m.Path, filepath.Join(base(), prefix)) || !strings.HasPrefix(filepath.Base(m.Path), "maps-") {
			continue
		}
		if s, ok := storeOf(filepath.Dir(m.Path)); ok && s.believed(pid) && s.has(m) {
			return s
		}
	}
	return nil
}

// has is whether a mapping is of a file of the store: a process in another mount
// namespace may have another one at the path.
func (s *Store) has(m procfs.Mapping) bool {
	f, err := s.openMaps(filepath.Base(m.Path), os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	return objfile.IsFileOf(f, m)
}

// List are the folders with a note that this process may look into and that are believed, by
// process, those of the same id by the time of their start. Of a process that has
// ended nobody knows whose it was: there it is the reader's own.
func List() (list []*Store, err error) {
	homes, err := os.ReadDir(base())
	for _, h := range homes {
		if strings.HasPrefix(h.Name(), prefix) {
			list = append(list, storesIn(filepath.Join(base(), h.Name()))...)
		}
	}
	slices.SortFunc(list, func(a, b *Store) int { return cmp.Or(cmp.Compare(a.pid, b.pid), cmp.Compare(a.start, b.start)) })
	return list, err
}

// storesIn are those in a user's folder.
func storesIn(home string) (list []*Store) {
	s, _ := storeOf(filepath.Join(home, folderName(0, 0)))
	dir, err := openFolder(home, s.uid)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := os.ReadDir(within(dir, "."))
	for _, e := range names {
		s, ok := storeOf(filepath.Join(home, e.Name()))
		if !ok || !s.believed(s.pid) {
			continue
		}
		if f, err := s.open(noteFile, os.O_RDONLY, math.MaxInt64); err == nil {
			f.Close()
			list = append(list, s)
		}
	}
	return list
}

// startTime is when a process that goes on was started.
func startTime(pid int) (uint64, error) {
	if state := procfs.State(pid); state == 'Z' || state == 'X' {
		return 0, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return procfs.Started(pid)
}
