// truth in Go: "truth-go [ROUNDS [SEED [THREADS]]] [wait]" makes calls and prints
// each for itself; see truth.h. A string is two words, pointer and length: it is
// arg3 and arg4 of mix, so that those behind it are arg5 and arg6.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// words end in a 0 that is no part of them, for readers that look for one.
var words = []string{"alpha\x00", "beta\x00", "gamma delta\x00", "\x00", "Ωmega\x00", "q\"uote\x00", "eta\x00"}

func word(i int) string { return words[i%7][:len(words[i%7])-1] }

type call struct {
	function     string
	inner, outer time.Duration
	ret          uint64
	args         [6]uint64
	text, result string
}

// log is what one thread has called; inner is of the call that ended last.
type log struct {
	tid   int
	calls []call
	inner time.Duration
}

//go:noinline
func mix(a uint64, b int64, c int32, text string, e uint64, f *uint64) uint64 {
	r := a*3 + uint64(b)
	switch c & 7 {
	case 0:
		return r &^ 0xffff
	case 1:
		return r&0xffff | 0x8000
	case 2:
		return -(r >> 33)
	case 3:
		return e
	}
	if f != nil {
		r++
	}
	return r ^ e + uint64(len(text))
}

//go:noinline
func small(a int32, b int16) int32 { return a%1000 - int32(b) }

//go:noinline
func name(i int) string { return word(i*3 + 1) }

//go:noinline
func fact(n int, l *log) int {
	began := time.Now()
	r := 1
	if n > 1 {
		r = n * l.again(n-1)
	}
	l.inner = time.Since(began)
	return r
}

// again calls fact, which calls itself through again, and notes it.
func (l *log) again(n int) int {
	began := time.Now()
	r := fact(n, l)
	l.note("fact", began, uint64(r), uint64(n))
	return r
}

//go:noinline
func spin(ns time.Duration, l *log) time.Duration {
	began := time.Now()
	for {
		if l.inner = time.Since(began); l.inner >= ns {
			return l.inner
		}
	}
}

func (l *log) note(function string, began time.Time, ret uint64, args ...uint64) *call {
	c := call{function: function, inner: l.inner, outer: time.Since(began), ret: ret}
	l.inner = 0
	copy(c.args[:], args)
	l.calls = append(l.calls, c)
	return &l.calls[len(l.calls)-1]
}

func next(s *uint64) uint64 {
	*s ^= *s << 13
	*s ^= *s >> 7
	*s ^= *s << 17
	return *s
}

func (l *log) round(i int, s *uint64) {
	a, e := next(s), uint64(1)<<(i*7%64)-uint64(i&1)
	b := int64(next(s)) >> (i % 60)
	c := int32(next(s))
	text, f := word(i), s
	if i%3 == 0 {
		f = nil
	}
	began := time.Now()
	r := mix(a, b, c, text, e, f)
	l.note("mix", began, r, a, uint64(b), uint64(int64(c)), pointer(text), e, uint64(uintptr(unsafe.Pointer(f)))).text = text
	began = time.Now()
	n := small(c, int16(b))
	l.note("small", began, uint64(int64(n)), uint64(int64(c)), uint64(int64(int16(b))))
	began = time.Now()
	named := name(i)
	l.note("name", began, pointer(named), uint64(i)).result = named
	l.again(1 + i%5)
	began = time.Now()
	ns := time.Duration(500 << (i % 6))
	took := spin(ns, l)
	l.note("spin", began, uint64(took), uint64(ns))
}

func pointer(text string) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.StringData(text)))) }

func main() {
	args := os.Args[1:]
	fmt.Printf("pid %d\n", os.Getpid())
	if n := len(args); n > 0 && args[n-1] == "wait" {
		args = args[:n-1]
		os.Stdin.Read(make([]byte, 1))
	}
	rounds, seed, threads := arg(args, 0, 8), uint64(arg(args, 1, 1)*2+1), arg(args, 2, 1)
	logs := make([]log, threads)
	var wg sync.WaitGroup
	for k := range logs {
		wg.Go(func() {
			runtime.LockOSThread()
			logs[k].tid = syscall.Gettid()
			s := new(uint64)
			*s = seed + uint64(k)*0x9e3779b97f4a7c15
			for i := range rounds {
				logs[k].round(i, s)
			}
		})
	}
	wg.Wait()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, l := range logs {
		for _, c := range l.calls {
			fmt.Fprintf(out, "call %s %x %x %x %x", c.function, l.tid, uint64(c.inner), uint64(c.outer), c.ret)
			for _, a := range c.args {
				fmt.Fprintf(out, " %x", a)
			}
			fmt.Fprintf(out, "|%s|%s\n", c.text, c.result)
		}
	}
}

func arg(args []string, i, otherwise int) int {
	if i >= len(args) {
		return otherwise
	}
	n, err := strconv.Atoi(args[i])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return n
}
