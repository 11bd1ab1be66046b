package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// state is what a tracer must leave as it was, beside the code.
type state struct {
	handles string // the signals that the process has handlers for, and those that it ignores
	vdso    string // its code
}

func stateOf(pid int) state {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	s := state{handles: line(string(b), "SigCgt:") + line(string(b), "SigIgn:")}
	_ = eachCode(pid, func(m mapping, mem io.ReaderAt) error {
		if m.name == "[vdso]" {
			code := make([]byte, m.end-m.start)
			_, err := mem.ReadAt(code, int64(m.start))
			s.vdso = string(code)
			return err
		}
		return nil
	})
	return s
}

// line is the value of a line of /proc/PID/status.
func line(status, name string) string {
	_, rest, _ := strings.Cut(status, "\n"+name)
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// same reports what of a process is not as it was: its state, its tracer, its code. With
// jit it makes code itself.
func (s state) same(pid int, jit bool) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return fmt.Errorf("it has ended: %w", err)
	}
	if t := line(string(b), "TracerPid:"); t != "0" {
		return fmt.Errorf("%s traces it", t)
	}
	now := stateOf(pid)
	if now.handles != s.handles {
		return fmt.Errorf("its signals' actions were %s, are %s", s.handles, now.handles)
	}
	if now.vdso != s.vdso {
		return fmt.Errorf("its vdso has changed")
	}
	return eachCode(pid, func(m mapping, mem io.ReaderAt) error {
		switch {
		case m.name == "[vdso]" || m.name == "[vsyscall]" || m.name == "[uprobes]":
			return nil
		case strings.Contains(m.name, "ptracer"):
			return fmt.Errorf("%s is mapped", m.name)
		case m.inode == 0 && jit:
			return nil
		case m.inode == 0:
			return fmt.Errorf("executable memory of no file: %x-%x", m.start, m.end)
		}
		return m.unchanged(pid, mem)
	})
}

// mapping is executable memory.
type mapping struct {
	start, end, off uint64
	inode           uint64
	name            string
}

// unchanged compares code with its file.
func (m mapping) unchanged(pid int, mem io.ReaderAt) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/map_files/%x-%x", pid, m.start, m.end))
	if err != nil {
		return nil // it was unmapped meanwhile
	}
	defer f.Close()
	want, got := make([]byte, m.end-m.start), make([]byte, m.end-m.start)
	n, err := f.ReadAt(want, int64(m.off))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := mem.ReadAt(got[:n], int64(m.start)); err != nil {
		return nil
	}
	if bytes.Equal(want[:n], got[:n]) {
		return nil
	}
	for i := range n {
		if want[i] != got[i] {
			end := min(i+16, n)
			return fmt.Errorf("%s: code at %#x is % x, in the file % x", m.name, m.start+uint64(i), got[i:end], want[i:end])
		}
	}
	return nil
}

// eachCode calls f for each executable mapping of a process.
func eachCode(pid int, f func(m mapping, mem io.ReaderAt) error) error {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer mem.Close()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	for text := range strings.Lines(string(maps)) {
		fields := strings.Fields(text)
		if len(fields) < 5 || !strings.Contains(fields[1], "x") {
			continue
		}
		m := mapping{}
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &m.start, &m.end); err != nil {
			return err
		}
		m.off, _ = strconv.ParseUint(fields[2], 16, 64)
		m.inode, _ = strconv.ParseUint(fields[4], 10, 64)
		if len(fields) > 5 {
			m.name = strings.Join(fields[5:], " ")
		}
		if err := f(m, mem); err != nil {
			return err
		}
	}
	return nil
}

// children are the processes that a process has made, and that are there.
func children(pid int) (list []int) {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}
