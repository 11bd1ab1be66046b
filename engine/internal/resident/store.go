// Package resident leaves probes in a process when their session ends, and reads what they find out
// (leave.go, reader.go). The maps lie in files to which the process writes by itself, beside a note
// of what they mean (store.go).
//
// There is a folder for each process, named by its id and the time of its start. It lies in memory
// (/dev/shm), in a folder of the user's that only that user may enter. It stays until it is
// collected, also when the process has ended.
//
// Any user can make such folders, for any process. What is in one counts only if its owner is the
// reader, or the user that the process belongs to: only these could have left probes in it
// (folder.go).
//
// Stays runs on the session's thread; a Resident is read without a session.
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

// The errors about folders.
var (
	ErrNone  = errors.New("no probes were left in it")
	ErrNote  = errors.New("the note of the probes that were left is not ptracer's, or another version's: that version's 'ptracer stop' takes them out; if the process has ended, remove the directory")
	ErrOwner = errors.New("not of this user alone")
	ErrLarge = errors.New("too large")
)

// The most bytes of a note (half a million places), and of a note and of maps that belong to
// another user. That user could make the reader take all memory, so such a note has room for some
// ten thousand places.
const (
	maxNote     = 64 << 20
	foreignNote = 4 << 20
	foreignMaps = 256 << 20
)

// Note says what the files of a process mean.
type Note struct {
	Version  int       `json:"version"`
	PID      int       `json:"pid"`
	Start    uint64    `json:"start"` // when the process began, in clock ticks since boot
	Command  string    `json:"command"`
	Planted  time.Time `json:"planted"`
	Probes   []Probe   `json:"probes"`
	Handlers []Handler `json:"handlers"`
}

// noteVersion is the version of Note that this program writes and reads.
const noteVersion = 1

// Probe is one probe that was left.
type Probe struct {
	Location string  `json:"location"`
	Handler  int     `json:"handler"` // an index into Note.Handlers; -1: none
	Places   []Place `json:"places"`
}

// Place is one place of a probe.
type Place struct {
	Name   string `json:"name"`
	Addr   uint64 `json:"addr"`
	Before uint64 `json:"before"` // the number to add to the counter, modulo 1<<64
	Exit   bool   `json:"exit,omitempty"`
	File   string `json:"file"` // the file of the counters
	N      int    `json:"n"`    // the counter in the file
	// At is where the place's patch lies; Patch has its bytes.
	At    uint64 `json:"at,omitempty"`
	Patch []byte `json:"patch,omitempty"`
	Pun   bool   `json:"pun,omitempty"` // the patch is a pun
}

// Handler is a handler that runs there.
type Handler struct {
	Name    string         `json:"name"` // the name of a built-in handler; empty: it is none
	Version int            `json:"version"`
	Params  builtin.Params `json:"params"`
	File    string         `json:"file"`
}

// Store is a process's folder.
type Store struct {
	dir   string
	uid   int // the owner of the folder
	pid   int
	start uint64
	files int
}

const noteFile = "note.json"

// Create makes the folder of a process. If there is one with a note already, the error wraps
// fs.ErrExist.
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
	if err := os.RemoveAll(s.dir); err != nil { // a tracer has died before it had left anything
		return nil, err
	}
	return s, os.Mkdir(s.dir, 0o700)
}

// folderName returns the name of a process's folder.
func folderName(pid int, start uint64) string { return fmt.Sprintf("%d-%d", pid, start) }

// base returns where the users' folders are: in memory, if there is such a place.
func base() string {
	const shm = "/dev/shm"
	if st, err := os.Stat(shm); err == nil && st.IsDir() {
		return shm
	}
	return os.TempDir()
}

const prefix = "ptracer-"

// home returns this user's folder, which no other user may enter, and makes it first if it is not
// there.
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

// sweep removes folders without a note, of processes that have ended.
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

// storeOf returns the store in a folder, as its name and its user's folder's name say.
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

// Dir returns the folder's path.
func (s *Store) Dir() string { return s.dir }

// PID returns the process's id.
func (s *Store) PID() int { return s.pid }

// Alive reports whether the process still exists.
func (s *Store) Alive() bool {
	start, err := startTime(s.pid)
	return err == nil && start == s.start
}

// NewFile makes an empty file in the folder.
func (s *Store) NewFile() (*os.File, error) {
	s.files++
	return os.OpenFile(filepath.Join(s.dir, fmt.Sprintf("maps-%d", s.files)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// Open opens a file of maps that a note names.
func (s *Store) Open(name string) (*os.File, error) {
	if name != filepath.Base(name) {
		return nil, fmt.Errorf("%q: %w", name, ErrNote)
	}
	return s.openMaps(name, os.O_RDWR)
}

// foreign reports whether the store belongs to another user than the reader.
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

// Load reads the note. The error wraps ErrNone if there is none, ErrNote if it is not readable.
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

// readNote returns the bytes of the note.
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

// Remove removes the folder and all in it. It is no error if the folder is gone.
func (s *Store) Remove() error {
	home, err := openFolder(filepath.Dir(s.dir), s.uid)
	if errors.Is(err, fs.ErrNotExist) { // the user's folder is gone: it was the last one in it
		return nil
	}
	if err != nil {
		return err
	}
	defer home.Close()
	err = os.RemoveAll(within(home, filepath.Base(s.dir)))
	_ = os.Remove(filepath.Dir(s.dir)) // the user's folder goes with the last one in it
	return err
}

// Find returns the folder of a process. A process that is there is known by the files that it has
// mapped; so is a process that it has forked. The error wraps ErrNone if there is no folder.
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

// Mapped returns the path of a folder if a process has mapped files of it, or "".
func Mapped(pid int) string {
	if s := mapped(pid); s != nil {
		return s.dir
	}
	return ""
}

// mapped returns that folder's store, or nil.
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

// has reports whether a mapping is of a file of the store. A process in another mount namespace may
// have another file at that path.
func (s *Store) has(m procfs.Mapping) bool {
	f, err := s.openMaps(filepath.Base(m.Path), os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	return objfile.IsFileOf(f, m)
}

// List returns the folders with a note that this process may read and trusts, by process id and
// then by the time of the process's start. The user of a process that has ended is not known: of
// such a process the reader's own folder counts.
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

// storesIn returns those in a user's folder.
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

// startTime returns when a process began, in clock ticks since boot. It fails for one that has
// ended.
func startTime(pid int) (uint64, error) {
	if state := procfs.State(pid); state == 'Z' || state == 'X' {
		return 0, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return procfs.Started(pid)
}
