// gopreempt [N]: 2 goroutines that add with carry, N (30) million times each, while the collector preempts them as often as
// it can; prints "sum S" of each, and nothing else if carries are kept.
package main

import (
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
)

// step is added in two words, with a carry each second time.
const low, high = 1<<63 | 1, 3

//go:noinline
func add(n int) (hi, lo uint64) {
	for range n {
		var carry uint64
		lo, carry = bits.Add64(lo, low, 0)
		hi, _ = bits.Add64(hi, high, carry)
	}
	return hi, lo
}

func main() {
	n := 30
	if len(os.Args) > 1 {
		n, _ = strconv.Atoi(os.Args[1])
	}
	n *= 1000000
	runtime.GOMAXPROCS(3)
	var adders sync.WaitGroup
	var sums [2]string
	for i := range sums {
		adders.Go(func() {
			hi, lo := add(n)
			sums[i] = fmt.Sprintf("sum %d:%d", hi, lo)
		})
	}
	var done atomic.Bool
	collector := make(chan bool)
	go func() {
		for !done.Load() {
			runtime.GC()
		}
		close(collector)
	}()
	adders.Wait()
	done.Store(true)
	<-collector
	for _, s := range sums {
		fmt.Println(s)
	}
}
