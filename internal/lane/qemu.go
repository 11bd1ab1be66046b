package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ptracer/ptracer/internal/lane/guest"
)

// bootAll runs a guest for each part of the plan, side by side, and returns what they say
// together. Their consoles are kept in dir.
func bootAll(o options, kernel, initramfs, dir string, parts int) (*result, error) {
	all, out := &result{ended: true}, &together{to: os.Stdout}
	results, errs := make([]*result, parts), make([]error, parts)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			log := filepath.Join(dir, fmt.Sprintf("console-%s-%d.log", o.cpu, i))
			results[i], errs[i] = boot(o, kernel, initramfs, log, i, &result{out: out, verbose: o.verbose})
		})
	}
	wg.Wait()
	for _, r := range results {
		if r != nil {
			all.code, all.ran, all.skips = max(all.code, r.code), all.ran+r.ran, append(all.skips, r.skips...)
		}
	}
	return all, errors.Join(errs...)
}

// together has several write to one place, each in whole calls.
type together struct {
	mu sync.Mutex
	to io.Writer
}

func (w *together) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

// boot runs the guest for a part of the plan, keeps its console in log, and returns its
// result. The guest's own end line is the result: QEMU exits with 0 after a panic too.
func boot(o options, kernel, initramfs, log string, part int, r *result) (*result, error) {
	cpu := o.cpu
	if cpu == "max" {
		cpu = "max,pauth-impdef=on" // QEMU's default algorithm is as slow as it is real
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.total)
	defer cancel()
	// One thread emulates both CPUs: with QEMU 7.2's default of one each,
	// traps get lost and programs crash.
	cmd := exec.CommandContext(ctx, "qemu-system-aarch64", "-M", "virt", "-cpu", cpu, "-smp", "2",
		"-accel", "tcg,thread=single", "-m", "2048", "-nographic", "-nodefaults", "-no-reboot",
		"-serial", "stdio", "-kernel", kernel, "-initrd", initramfs,
		"-append", fmt.Sprintf("console=ttyAMA0 rdinit=/init panic=-1 oops=panic quiet %s%d", guest.PartArg, part))
	console, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w (is qemu-system-arm installed?)", err)
	}
	readErr := r.read(io.TeeReader(console, file))
	late := ctx.Err() != nil
	if r.ended {
		cancel() // it has nothing more to say
	}
	waitErr := cmd.Wait()
	switch {
	case r.ended:
		return r, nil
	case late:
		return r, fmt.Errorf("not done after %v; console in %s", o.total, log)
	case readErr != nil:
		return r, readErr
	default:
		return r, fmt.Errorf("the guest died (%v); console in %s", waitErr, log)
	}
}

// result is what the console said, printed as go test would while it is read.
type result struct {
	out     io.Writer
	verbose bool

	ended bool
	code  int
	skips []string
	ran   int

	running string // package, "" between two
	output  []string
}

// read reads to the guest's end line, or to its death.
func (r *result) read(console io.Reader) error {
	in := bufio.NewReader(console)
	for !r.ended {
		text, err := in.ReadString('\n')
		r.line(strings.TrimRight(text, "\r\n"))
		if errors.Is(err, io.EOF) {
			r.unfinished()
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *result) line(text string) {
	l, ok := guest.Parse(text)
	if !ok {
		r.output = append(r.output, text)
		if r.verbose && text != "" {
			fmt.Fprintln(r.out, text)
		}
		return
	}
	switch l.Kind {
	case guest.Run:
		r.running, r.output = l.Package, nil
	case guest.RC:
		r.finished(l)
	case guest.Skip:
		r.skips = append(r.skips, l.Text)
	case guest.End:
		r.ended, r.code = true, l.Code
	}
}

func (r *result) finished(l guest.Line) {
	r.running = ""
	r.ran++
	tests, skips := r.count("--- PASS: ")+r.count("--- FAIL: "), r.count("--- SKIP: ")+r.count("    --- SKIP: ")
	word, why := "ok  ", ""
	if l.Code != 0 {
		word, why = "FAIL", r.last()
	}
	fmt.Fprintf(r.out, "%s%s\t%s\t%.3fs\t(arm64, %d tests, %d skips)\n", why, word, l.Package, float64(l.Millis)/1000, tests, skips)
	r.output = nil
}

// count counts the lines that start so: tests, or with four blanks their parts.
func (r *result) count(prefix string) int {
	n := 0
	for _, text := range r.output {
		if strings.HasPrefix(text, prefix) {
			n++
		}
	}
	return n
}

// unfinished tells what the guest was at when it died.
func (r *result) unfinished() {
	if r.ended {
		return
	}
	why := r.last()
	if r.running != "" {
		why += fmt.Sprintf("FAIL\t%s\t(arm64, not finished)\n", r.running)
	}
	fmt.Fprint(r.out, why)
}

// last is the last of the output, where the reason is, without the news of tests that
// passed; nothing if it was printed.
func (r *result) last() string {
	const most = 300
	if r.verbose {
		return ""
	}
	var b strings.Builder
	text := slices.DeleteFunc(ofFailed(r.output), func(text string) bool {
		return text == "" || strings.HasPrefix(text, "=== ") || strings.HasPrefix(strings.TrimSpace(text), "--- PASS: ")
	})
	if n := len(text) - most; n > 0 {
		fmt.Fprintf(&b, "(%d lines before)\n", n)
		text = text[n:]
	}
	for _, line := range text {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// ofFailed are the lines of tests that failed; all, if none has said so.
func ofFailed(output []string) (lines []string) {
	failed := map[string]bool{}
	for _, text := range output {
		if name, ok := strings.CutPrefix(strings.TrimSpace(text), "--- FAIL: "); ok {
			failed[firstWord(name)] = true
		}
	}
	if len(failed) == 0 {
		return output
	}
	running := ""
	for _, text := range output {
		for _, news := range []string{"=== RUN ", "=== CONT ", "=== NAME ", "=== PAUSE "} {
			if name, ok := strings.CutPrefix(text, news); ok {
				running = firstWord(name)
			}
		}
		if failed[running] || strings.Contains(text, "--- FAIL: ") {
			lines = append(lines, text)
		}
	}
	return lines
}

func firstWord(text string) string {
	if f := strings.Fields(text); len(f) > 0 {
		return f[0]
	}
	return ""
}

// listSkips appends the guest's skips to the list of this run, if there is one.
func listSkips(list string, skips []string) error {
	if list == "" || len(skips) == 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Clean(list), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, s := range skips {
		if _, err := fmt.Fprintf(f, "arm64 %s\n", s); err != nil {
			return err
		}
	}
	return f.Close()
}
