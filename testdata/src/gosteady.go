// gosteady [G] [wait]: steady.c in Go, with G (3) goroutines and others that come and go.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const g = 3

var (
	held, over atomic.Bool
	stands     [g]atomic.Bool
	counts     [g][8]int
	wrongs     [g]int
)

//go:noinline
func work(count *int, x int) int {
	*count++
	return x*3 + 1
}

func run(i int) {
	for n := 0; !over.Load(); n++ {
		for held.Load() && !over.Load() {
			stands[i].Store(true)
			time.Sleep(200 * time.Microsecond)
		}
		stands[i].Store(false)
		if work(&counts[i][0], n) != n*3+1 {
			wrongs[i]++
		}
		if n%64 == 63 {
			time.Sleep(300 * time.Microsecond)
		}
	}
}

func await(v bool) {
	for i := range g {
		for stands[i].Load() != v {
			time.Sleep(200 * time.Microsecond)
		}
	}
}

func main() {
	fmt.Printf("pid %d\n", os.Getpid())
	in := bufio.NewReader(os.Stdin)
	in.ReadByte()
	var wg sync.WaitGroup
	for i := range g {
		wg.Go(func() { run(i) })
	}
	for {
		c, err := in.ReadByte()
		if err != nil {
			break
		}
		switch c {
		case 'p':
			held.Store(true)
			await(true)
			calls := 0
			for i := range g {
				calls += counts[i][0]
			}
			fmt.Printf("calls %d\n", calls)
		case 'r':
			held.Store(false)
			await(false)
		}
	}
	over.Store(true)
	wg.Wait()
	wrong := 0
	for _, n := range wrongs {
		wrong += n
	}
	fmt.Printf("wrong %d\n", wrong)
}
