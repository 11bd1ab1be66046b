// Package show is how results and messages look: tables, JSON, lines, screens, and the file
// or terminal that they go to.
package show

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/pflag"
)

// Output is where results go: standard error or a file, or standard output where no
// command's own output can be. Lines are buffered until Flush; the first error
// of a write is kept, and told by Broken.
type Output struct {
	mu     sync.Mutex
	to     io.Writer
	buf    *bufio.Writer // of to
	file   *os.File      // nil: a standard one, which stays open
	err    error
	Broken chan struct{} // closed at the first error
}

// BindOutput declares the flag that says where results go. Of a verb whose
// results alone are written there (alone), that is standard output without the flag.
func BindOutput(f *pflag.FlagSet, path *string, alone bool) {
	otherwise := "standard error; - is standard output"
	if alone {
		otherwise = "standard output (-)"
	}
	f.StringVarP(path, "output", "o", "", "write to `FILE` instead of "+otherwise)
}

// Dash is the name of a FILE that is standard output, or input.
const Dash = "-"

// OpenOutput makes FILE, or takes the standard one where there is none.
func OpenOutput(path string, standard io.Writer) (*Output, error) {
	if path == Dash {
		path, standard = "", os.Stdout
	}
	if path == "" {
		return &Output{to: standard, buf: bufio.NewWriter(standard), Broken: make(chan struct{})}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	return &Output{to: f, file: f, buf: bufio.NewWriter(f), Broken: make(chan struct{})}, nil
}

// Write takes whole lines.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.buf.Write(b)
	o.note(err)
	return n, err
}

// Hold keeps what is written from then on until let, which writes it, or throws it away.
func (o *Output) Hold() (let func(write bool)) {
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

// Flush writes what is buffered.
func (o *Output) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note(o.buf.Flush())
}

func (o *Output) note(err error) {
	if err != nil && o.err == nil {
		o.err = err
		close(o.Broken)
	}
}

// Close flushes and says what went wrong with the output, ever.
func (o *Output) Close() error {
	o.Flush()
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

// WithOutput writes into a file or to standard output: no program writes beside it.
func WithOutput(path string, stdout io.Writer, write func(io.Writer) error) error {
	out, err := OpenOutput(path, stdout)
	if err != nil {
		return err
	}
	err = write(out)
	return errors.Join(err, out.Close())
}
