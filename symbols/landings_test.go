package symbols

import (
	"errors"
	"testing"

	"github.com/ptracer/ptracer/arch/amd64"
)

// TestUndisturbed looks at every function of the C library: what objdump's
// branches lead to is found, and most entries are free.
func TestUndisturbed(t *testing.T) {
	path := "/lib/x86_64-linux-gnu/libc.so.6"
	f, err := Open(path)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	fns, err := f.Functions()
	if err != nil {
		t.Fatal(err)
	}
	free, why := 0, map[error]int{}
	for _, fn := range fns {
		err := f.Undisturbed(amd64.ISA, fn.Addr, 5, true)
		if err == nil {
			free++
		}
		for _, e := range []error{ErrTarget, ErrTable, ErrNoFunc} {
			if errors.Is(err, e) {
				why[e]++
			}
		}
	}
	t.Logf("%d of %d; %v", free, len(fns), why)
}
