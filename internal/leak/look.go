package leak

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// module is in every function name of ours.
const module = "github.com/ptracer/ptracer/"

// goroutines returns the stacks of all goroutines of this module but the one
// that asks.
func goroutines() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var found []string
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(stack, module) {
			found = append(found, strings.ReplaceAll(stack, "\n", "\n\t\t"))
		}
	}
	return found
}

// files returns this process's open files as "number -> what". A number that
// was closed and opened again on something else is another file.
func files() map[string]bool {
	open := map[string]bool{}
	names, _ := filepath.Glob("/proc/self/fd/*")
	for _, name := range names {
		// The folder's own descriptor is gone by now.
		if what, err := os.Readlink(name); err == nil {
			open[filepath.Base(name)+" -> "+what] = true
		}
	}
	return open
}

// processes returns our children and zombies, whoever carries our mark, and
// the tasks that a thread of ours traces.
func processes(value string) []string {
	self := os.Getpid()
	want := mark + "=" + value
	threads := threadsOf(self)
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == self {
			continue
		}
		status := status(dir + "/status")
		if status["PPid"] == strconv.Itoa(self) || marked(dir, want) {
			found = append(found, fmt.Sprintf("process %d: %s, %s", pid, status["Name"], status["State"]))
		}
		for tid := range threadsOf(pid) {
			if tracer := taskStatus(dir, tid)["TracerPid"]; threads[tracer] {
				found = append(found, fmt.Sprintf("tracee %d/%s: %s, traced by our thread %s", pid, tid, status["Name"], tracer))
			}
		}
	}
	return found
}

func marked(dir, want string) bool {
	env, _ := os.ReadFile(dir + "/environ")
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if string(v) == want {
			return true
		}
	}
	return false
}

func threadsOf(pid int) map[string]bool {
	tids := map[string]bool{}
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, name := range names {
		tids[filepath.Base(name)] = true
	}
	return tids
}

func taskStatus(dir, tid string) map[string]string { return status(dir + "/task/" + tid + "/status") }

// status reads a /proc status file; one that is gone is empty.
func status(path string) map[string]string {
	fields := map[string]string{}
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields
}
