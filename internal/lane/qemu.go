package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/internal/lane/guest"
)

// boot runs the guest, keeps its console in log, and returns its result. The
// guest's own end line is the result: QEMU exits with 0 after a panic too.
func boot(o options, kernel, initramfs, log string) (*result, error) {
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
		"-append", "console=ttyAMA0 rdinit=/init panic=-1 oops=panic quiet")
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
	r := &result{out: os.Stdout, verbose: o.verbose}
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
		if err == io.EOF {
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
	word := "ok  "
	if l.Code != 0 {
		word = "FAIL"
		r.show()
	}
	fmt.Fprintf(r.out, "%s\t%s\t%.3fs\t(arm64, %d tests, %d skips)\n", word, l.Package, float64(l.Millis)/1000, tests, skips)
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
	r.show()
	if r.running != "" {
		fmt.Fprintf(r.out, "FAIL\t%s\t(arm64, not finished)\n", r.running)
	}
}

// show prints the last of the output, where the reason is, without the news of
// tests that passed.
func (r *result) show() {
	const most = 300
	if r.verbose {
		return // it was printed
	}
	text := slices.DeleteFunc(r.output, func(text string) bool {
		return text == "" || strings.HasPrefix(text, "=== ") || strings.HasPrefix(strings.TrimSpace(text), "--- PASS: ")
	})
	if n := len(text) - most; n > 0 {
		fmt.Fprintf(r.out, "(%d lines before)\n", n)
		text = text[n:]
	}
	for _, line := range text {
		fmt.Fprintln(r.out, line)
	}
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
