// gopanic [N] [wait]: 8 goroutines that grow their stacks, throw and catch panics, use nil pointers, maps and the
// collector, N (60) times each; prints "total T". With wait it prints "pid PID" and begins when it has
// read a byte.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
)

//go:noinline
func deep(n int, pad [64]byte) int {
	if n == 0 {
		return int(pad[0])
	}
	pad[n%64]++
	return deep(n-1, pad) + 1
}

//go:noinline
func thrower(n int) {
	if n == 0 {
		panic(errors.New("thrown"))
	}
	defer func() { _ = n }()
	thrower(n - 1)
}

//go:noinline
func catcher(n int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	thrower(n)
	return nil
}

//go:noinline
func nilled(p *int) (n int) {
	defer func() {
		if recover() != nil {
			n = -1
		}
	}()
	return *p
}

type node struct{ op, low int }

func (n *node) bits() int { return n.low & 7 }

// touch begins with an instruction that does nothing, for the call that is no more,
// and the first that does something faults.
//
//go:noinline
func touch(n *node) int { return n.bits() }

//go:noinline
func touched(n *node) (bits int) {
	defer func() {
		if recover() != nil {
			bits = -2
		}
	}()
	return touch(n)
}

//go:noinline
func spin(n int) (s int) {
	for i := range n {
		s += i * i % 7
	}
	return s
}

func main() {
	rounds := 60
	if len(os.Args) > 1 {
		rounds, _ = strconv.Atoi(os.Args[1])
	}
	if len(os.Args) > 2 && os.Args[2] == "wait" {
		fmt.Printf("pid %d\n", os.Getpid())
		os.Stdin.Read(make([]byte, 1))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			sum := 0
			for i := range rounds {
				sum += deep(200+i, [64]byte{})
				if catcher(i%7) != nil {
					sum++
				}
				sum += nilled(nil) + touched(nil) + touched(&node{low: i})
				sum += spin(20000)
				m := map[int]string{}
				for k := range 100 {
					m[k] = fmt.Sprint(k, g)
				}
				sum += len(m)
				if i%20 == 0 {
					runtime.GC()
				}
			}
			mu.Lock()
			total += sum
			mu.Unlock()
		}()
	}
	wg.Wait()
	fmt.Println("total", total)
}
