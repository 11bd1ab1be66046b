// gomap [N] [wait]: N (300) times writes, reads and deletes in maps of integers
// and of strings; prints "pid P", "calls C", how often main.put was called, and "sum S".
package main

import (
	"fmt"
	"os"
	"strconv"
)

var calls int

// put looks at no stack bound, where the runtime may have it begin anew.
//
//go:nosplit
//go:noinline
func put(ints map[int]int, names map[string]int, i int) int {
	calls++
	ints[i%64] += i
	name := strconv.Itoa(i % 50)
	names[name]++
	if i%3 == 0 {
		delete(ints, i%40)
	}
	return ints[i%16] + names[name]
}

func main() {
	args, n := os.Args[1:], 300
	fmt.Printf("pid %d\n", os.Getpid())
	if k := len(args); k > 0 && args[k-1] == "wait" {
		args = args[:k-1]
		os.Stdin.Read(make([]byte, 1))
	}
	if len(args) > 0 {
		n, _ = strconv.Atoi(args[0])
	}
	ints, names, sum := map[int]int{}, map[string]int{}, 0
	for i := range n {
		sum += put(ints, names, i)
	}
	fmt.Printf("calls %d\nsum %d\n", calls, sum)
}
