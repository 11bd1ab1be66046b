package symbols

import (
	"errors"
	"slices"
	"sync"
)

// unread is why some of what a file may say is not known.
type unread struct {
	mu   sync.Mutex
	errs []error
}

// maxUnread is how many reasons are told.
const maxUnread = 3

func (u *unread) note(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	same := func(e error) bool { return e.Error() == err.Error() }
	if err != nil && len(u.errs) < maxUnread && !slices.ContainsFunc(u.errs, same) {
		u.errs = append(u.errs, err)
	}
}

// Unread is why some of the file's names are not known, nil where nothing was in the way: a
// table, or a separate debug file, that there is and that could not be read.
func (f *File) Unread() error {
	f.unread.mu.Lock()
	defer f.unread.mu.Unlock()
	return errors.Join(f.unread.errs...)
}
