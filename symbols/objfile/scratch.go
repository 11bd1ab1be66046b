package objfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// Scratch makes a file without a name, in memory. It goes when it is closed, or nothing refers to it.
func Scratch(what string) (*os.File, error) {
	fd, err := unix.MemfdCreate(what, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), what), nil
}
