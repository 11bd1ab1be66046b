package exit

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// Signals takes the signals that end a job. One that was ignored when ptracer was started
// stays so (nohup), for ptracer and for the command. SIGPIPE would end ptracer in the
// middle of everything; caught, it is an error of a write.
func Signals() chan os.Signal {
	c := make(chan os.Signal, 4)
	signal.Notify(c, endings()...)
	if !signal.Ignored(syscall.SIGPIPE) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	}
	return c
}

// endings are the signals that Signals takes; SIGKILL, which has no effect, for an empty list means all.
func endings() []os.Signal {
	return slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL}, signal.Ignored)
}

// UntilSignal is a context that one of these signals ends.
func UntilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), endings()...)
}
