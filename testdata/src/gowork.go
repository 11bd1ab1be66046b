// gowork [G [N [USEC]]] [wait]: G (4) goroutines call main.work N (1000) times
// each, sleeping USEC (0) after each 1000 calls; prints "pid P", then "calls C" and "sum S", what the function itself counted
// and returned.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// work grows its stack now and then, so that stacks move while it is probed.
//
//go:noinline
func work(count *int, i int) int {
	*count++
	if i%64 == 0 {
		return deep(i, 40)
	}
	return i
}

//go:noinline
func deep(i, n int) int {
	var pad [128]byte
	if n == 0 {
		return i
	}
	pad[n] = byte(i)
	return deep(i, n-1) + int(pad[n]) - int(byte(i))
}

func main() {
	args := os.Args[1:]
	fmt.Printf("pid %d\n", os.Getpid())
	if n := len(args); n > 0 && args[n-1] == "wait" {
		args = args[:n-1]
		os.Stdin.Read(make([]byte, 1))
	}
	g, n := arg(args, 0, 4), arg(args, 1, 1000)
	pause := time.Duration(arg(args, 2, 0)) * time.Microsecond
	counts, sums := make([]int, g), make([]int, g)
	var wg sync.WaitGroup
	for k := range g {
		wg.Go(func() {
			for i := range n {
				sums[k] += work(&counts[k], i)
				if pause > 0 && i%1000 == 999 {
					time.Sleep(pause)
				}
			}
		})
	}
	wg.Wait()
	calls, sum := 0, 0
	for k := range g {
		calls += counts[k]
		sum += sums[k]
	}
	fmt.Printf("calls %d\nsum %d\n", calls, sum)
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
