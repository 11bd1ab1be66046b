package procfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/arch"
)

// Mapping is one line of /proc/PID/maps.
type Mapping struct {
	Start, End arch.Addr
	Perm       string // "r-xp"
	Offset     uint64 // in the file
	Dev        string // "fd:01", hexadecimal major and minor number
	Inode      uint64
	Path       string // a file's path, "[heap]" and the like, or ""
	Deleted    bool   // the file has no name any more; Path is what it was
}

// Executable reports whether code in m can run.
func (m Mapping) Executable() bool { return len(m.Perm) > 2 && m.Perm[2] == 'x' }

// Contains reports whether a lies in m.
func (m Mapping) Contains(a arch.Addr) bool { return a >= m.Start && a < m.End }

// Maps reads /proc/PID/maps.
func Maps(pid int) ([]Mapping, error) {
	maps, err := mapsOf(pid)
	if err == nil && len(maps) == 0 {
		return mapsOf(LiveTask(pid))
	}
	return maps, err
}

func mapsOf(pid int) ([]Mapping, error) {
	f, err := os.Open(Path(pid, "maps"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	maps, err := ParseMaps(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return maps, nil
}

// MapFile is the path of the very file that a process has mapped at m. Following it takes
// CAP_CHECKPOINT_RESTORE, or CAP_SYS_ADMIN.
func MapFile(pid int, m Mapping) string {
	return Path(LiveTask(pid), fmt.Sprintf("map_files/%x-%x", uint64(m.Start), uint64(m.End)))
}

// maxMapsLine is more than the kernel writes: a path is a page at most.
const maxMapsLine = 1 << 16

// ParseMaps reads text in the form of /proc/PID/maps.
func ParseMaps(r io.Reader) ([]Mapping, error) {
	var maps []Mapping
	var words interned
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxMapsLine)
	for n := 1; lines.Scan(); n++ {
		m, err := parseMapping(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		m.Perm, m.Dev, m.Path = words.one(m.Perm), words.one(m.Dev), words.one(m.Path)
		maps = append(maps, m)
	}
	return maps, lines.Err()
}

// interned are texts of which one copy is kept: a process may have a file with a long path
// mapped any number of times.
type interned map[string]string

func (known *interned) one(s string) string {
	if c, ok := (*known)[s]; ok {
		return c
	}
	if *known == nil {
		*known = interned{}
	}
	c := strings.Clone(s)
	(*known)[c] = c
	return c
}

var errMapping = errors.New("not START-END PERM OFFSET DEV INODE [PATH]")

func parseMapping(line string) (m Mapping, err error) {
	var word [5]string
	rest := line
	for i := range word {
		word[i], rest, _ = strings.Cut(rest, " ")
		if word[i] == "" {
			return m, errMapping
		}
	}
	start, end, ok := strings.Cut(word[0], "-")
	first, err1 := strconv.ParseUint(start, 16, 64)
	last, err2 := strconv.ParseUint(end, 16, 64)
	off, err3 := strconv.ParseUint(word[2], 16, 64)
	inode, err4 := strconv.ParseUint(word[4], 10, 64)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return m, err
	}
	if !ok || last < first || len(word[1]) != 4 {
		return m, errMapping
	}
	m = Mapping{Start: arch.Addr(first), End: arch.Addr(last), Perm: word[1], Offset: off, Dev: word[3], Inode: inode}
	// Padding goes before the path; a path of its own may end in blanks. The
	// kernel escapes newlines only (seq_file_path, fs/proc/task_mmu.c).
	m.Path = strings.ReplaceAll(strings.TrimLeft(rest, " "), `\012`, "\n")
	if m.Inode != 0 {
		m.Path, m.Deleted = strings.CutSuffix(m.Path, " (deleted)")
	}
	return m, nil
}
