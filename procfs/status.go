package procfs

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// Status is a task's /proc/TID/status, by the words before the colons.
type Status map[string]string

// ReadStatus reads it.
func ReadStatus(tid int) (Status, error) {
	b, err := os.ReadFile(Path(tid, "status"))
	if err != nil {
		return nil, err
	}
	st := Status{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			st[k] = strings.TrimSpace(v)
		}
	}
	return st, nil
}

// First is the first word of a line; of the lines Uid and Gid it is the real id.
func (st Status) First(key string) string { return first(st[key]) }

// Number is the first word of a line as a number; 0 if it is none.
func (st Status) Number(key string) int {
	n, _ := strconv.Atoi(first(st[key]))
	return n
}

// Hex is a line in hexadecimal, of signals or capabilities.
func (st Status) Hex(key string) uint64 {
	n, _ := strconv.ParseUint(st[key], 16, 64)
	return n
}

// FileID is the user (Uid) or group (Gid) that the task opens files as; -1 if the line is missing.
func (st Status) FileID(key string) int {
	f := strings.Fields(st[key]) // real, effective, saved, file system's
	if len(f) < 4 {
		return -1
	}
	n, _ := strconv.Atoi(f[3])
	return n
}

// Same reports whether the real, the effective and the saved user (Uid) or group (Gid) are id.
// Those of a program that is set-user-ID, or that has taken another's id for a while, are not.
func (st Status) Same(key string, id uint32) bool {
	ids := strings.Fields(st[key])
	want := strconv.FormatUint(uint64(id), 10)
	return len(ids) > 2 && !slices.ContainsFunc(ids[:3], func(s string) bool { return s != want })
}

// Groups are the supplementary groups.
func (st Status) Groups() (ids []uint32) {
	for _, f := range strings.Fields(st["Groups"]) {
		if n, err := strconv.ParseUint(f, 10, 32); err == nil {
			ids = append(ids, uint32(n))
		}
	}
	return ids
}

// Ended reports whether the task has ended, and waits for its parent.
func (st Status) Ended() bool {
	return strings.HasPrefix(st["State"], "Z") || strings.HasPrefix(st["State"], "X")
}

// Group is the process that a task is of; 0 if it has gone.
func Group(tid int) int { return number(tid, "Tgid") }

// Tracer is the thread that traces a task; 0 without one.
func Tracer(tid int) int { return number(tid, "TracerPid") }

// number is one line of a task's status; 0 if there is none.
func number(tid int, key string) int {
	st, err := ReadStatus(tid)
	if err != nil {
		return 0
	}
	return st.Number(key)
}
