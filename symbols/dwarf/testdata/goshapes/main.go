// Command goshapes has types, closures and inlined calls.
package main

import "fmt"

type store struct {
	keys map[string][]int
	next *store
}

func (s *store) put(k string, v int) int {
	s.keys[k] = append(s.keys[k], v)
	return len(s.keys[k])
}

func square(n int) int { return n * n }

func main() {
	s := &store{keys: map[string][]int{}}
	f := func(n int) int { return s.put("a", square(n)) }
	fmt.Println(f(2), f(3))
}
