// gopanic [N]: 8 goroutines that grow their stacks, throw and catch panics, use nil pointers, maps and the collector, N (60)
// times each; prints "total T".
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
				sum += nilled(nil)
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
