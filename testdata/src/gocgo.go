// gocgo [N]: 8 goroutines that call C, which calls them back, N (200) times each, on stacks that grow, with panics that
// go through C; prints "total T".
package main

/*
extern long step(long);

__attribute__((noinline)) static long plain(long n)
{
	long s = 0;
	for (long i = 0; i < n; i++)
		s = s * 31 + i;
	return s;
}

__attribute__((noinline)) static long around(long n)
{
	long s = 0;
	for (long i = 0; i < n; i++)
		s += step(i) + plain(i);
	return s;
}
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
)

//export step
func step(i C.long) C.long {
	if i == 13 {
		panic("thirteen")
	}
	return C.long(deep(int(i), [64]byte{}))
}

//go:noinline
func deep(n int, pad [64]byte) int {
	if n == 0 {
		return int(pad[0])
	}
	pad[n%64]++
	return deep(n-1, pad) + 1
}

//go:noinline
func call(n int) (s int) {
	defer func() {
		if recover() != nil {
			s = -n
		}
	}()
	return int(C.around(C.long(n)))
}

// mark begins as often as it ends.
//
//go:noinline
func mark(n int) int { return n }

//go:noinline
func work(rounds int) (s int) {
	for i := range rounds {
		s += mark(call(i % 16))
		if i%50 == 0 {
			runtime.GC()
		}
	}
	return s
}

func main() {
	rounds := 200
	if len(os.Args) > 1 {
		rounds, _ = strconv.Atoi(os.Args[1])
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 8 {
		wg.Go(func() {
			s := work(rounds)
			mu.Lock()
			total += s
			mu.Unlock()
		})
	}
	wg.Wait()
	fmt.Println("total", total)
}
