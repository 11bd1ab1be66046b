package elffile

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// A file costs its maker next to nothing: of a sparse one of terabytes a few
// kilobytes are on the disk, and what is packed in one of these unpacks to gigabytes.
// The reader pays for what is really there, and no more than this:
//
//	headers    as many as the kernel takes, or compilers make
//	code, data a window at a time, holes left out, and so much of a file
//	packed     some times what it is packed
//	kept       so much of all files of a cache
//
// What is more than that is as if it could not be read.

// ErrBudget is wrapped by errors about files that would take more memory, or more
// time, than their reader has for them.
var ErrBudget = errors.New("it would take more memory or time than there is for it")

// MaxKept is the most memory that is kept of all files of a cache: a browser with all
// its libraries and debug files takes half a gigabyte.
const MaxKept = 2 << 30

// Budget is the memory that is kept of the files that share it.
type Budget struct{ kept atomic.Uint64 }

// Keep says that n bytes are going to be kept, and whether they may.
func (b *Budget) Keep(n uint64) error {
	if now := b.kept.Add(min(n, MaxKept+1)); now > MaxKept {
		b.kept.Add(-min(n, MaxKept+1))
		return fmt.Errorf("%w: %d bytes, when %d are kept of all files together", ErrBudget, n, MaxKept)
	}
	return nil
}
