// goargs [N] [wait]: calls functions of Go, of Go's assembly and of C with arguments that are known, N (20) times each;
// prints "pid P", then "sum S".
package main

/*
__attribute__((noinline)) static long mix(long a, long b)
{
	__asm__ volatile("");
	return a * 2 + b;
}

__attribute__((noinline)) static long length(const char *s)
{
	long n = 0;
	while (s[n])
		n++;
	return n;
}
*/
import "C"

import (
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
)

// box has a receiver for a method.
type box struct{ a, b int }

//go:noinline
func ints(a, b, c int) int { return a + b + c }

// name returns a part of what it gets: no 0 ends either of them.
//
//go:noinline
func name(s string) string { return s[1 : len(s)-1] }

//go:noinline
func total(k int, xs []int) int {
	for _, x := range xs {
		k += x
	}
	return k
}

//go:noinline
func (b *box) put(k int, s string) int { return b.a + b.b + k + len(s) }

//go:noinline
func many(a, b, c, d, e, f, g, h, i, j int) int { return a + b + c + d + e + f + g + h + i + j }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is by an assembly function.
//
//go:noinline
func sum(s string) int { return int(crc32.Update(uint32(len(s)), castagnoli, []byte(s))) }

// round is what is done N times.
func round(i int) int {
	s := ints(i, 2*i+1, -i)
	s += len(name("call\x00" + strconv.Itoa(i) + "."))
	s += total(i, []int{7 * i, 8})
	s += (&box{9 * i, 1}).put(i+5, "box "+strconv.Itoa(i))
	s += many(i, i+1, i+2, i+3, i+4, i+5, i+6, i+7, i+8, i+9)
	s += sum("assembly "+strconv.Itoa(i)) & 1
	s += int(C.mix(C.long(100+i), C.long(i)))
	text := C.CString("text " + strconv.Itoa(i))
	return s + int(C.length(text))
}

func main() {
	args := os.Args[1:]
	fmt.Printf("pid %d\n", os.Getpid())
	if n := len(args); n > 0 && args[n-1] == "wait" {
		args = args[:n-1]
		os.Stdin.Read(make([]byte, 1))
	}
	n := 20
	if len(args) > 0 {
		n, _ = strconv.Atoi(args[0])
	}
	all := 0
	for i := range n {
		all += round(i)
	}
	fmt.Println("sum", all)
}
