package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// output is where results go: standard error or a file, or standard output where no
// command's own output can be. Lines are buffered until flush; the first error of a write is kept, and told by broken.
type output struct {
	mu     sync.Mutex
	to     io.Writer
	buf    *bufio.Writer // of to
	file   *os.File      // nil: not ours to close
	err    error
	broken chan struct{} // closed at the first error
}

// bindOutput declares the flag that says where results go; ours alone: without it
// that is standard output.
func bindOutput(f *pflag.FlagSet, path *string, ours bool) {
	otherwise := "standard error; - is standard output"
	if ours {
		otherwise = "standard output (-)"
	}
	f.StringVarP(path, "output", "o", "", "write to `FILE` instead of "+otherwise)
}

// dash is the name of a FILE that is standard output, or input.
const dash = "-"

// openOutput makes FILE, or takes the standard one where there is none.
func openOutput(path string, standard io.Writer) (*output, error) {
	if path == dash {
		path, standard = "", os.Stdout
	}
	if path == "" {
		return &output{to: standard, buf: bufio.NewWriter(standard), broken: make(chan struct{})}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	return &output{to: f, file: f, buf: bufio.NewWriter(f), broken: make(chan struct{})}, nil
}

// Write takes whole lines.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.buf.Write(b)
	o.note(err)
	return n, err
}

// hold keeps what is written from then on until let, which writes it, or throws it away.
func (o *output) hold() (let func(write bool)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	to := o.buf
	var held bytes.Buffer
	o.buf = bufio.NewWriter(&held)
	return func(write bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		_ = o.buf.Flush()
		if o.buf = to; write {
			_, err := o.buf.Write(held.Bytes())
			o.note(err)
		}
	}
}

func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note(o.buf.Flush())
}

func (o *output) note(err error) {
	if err != nil && o.err == nil {
		o.err = err
		close(o.broken)
	}
}

// close flushes and says what went wrong with the output, ever.
func (o *output) close() error {
	o.flush()
	if o.file != nil {
		err := o.file.Close()
		o.mu.Lock()
		o.note(err)
		o.mu.Unlock()
	}
	if o.err != nil {
		return fmt.Errorf("output: %w", o.err)
	}
	return nil
}

// terminal is w's size if it is a terminal; one that does not know its size
// gets the usual one.
func terminal(w io.Writer) (width, height int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width == 0 || height == 0 {
		width, height = 80, 24
	}
	return width, height, true
}
