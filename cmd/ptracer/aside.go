package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/ptracer/ptracer/cmd/ptracer/internal/exit"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/sharing"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter/client"
	"github.com/ptracer/ptracer/engine/event"
)

func newAside() *cobra.Command {
	var pid int
	var wait time.Duration
	var keep bool
	cmd := &cobra.Command{
		Use:   "aside -p PID [flags] [-- COMMAND [ARG]...]",
		Short: "Let another tracer, such as gdb, have a process for a while",
		Long: `Let another tracer have a process that is shared through a server: the kernel
allows one. The server lets the process go, with its code as in the file, so that
the other tracer may set breakpoints anywhere. Nothing is counted meanwhile; ptracer
tells the tracers of the process, and their results say so. When the other tracer has
gone, or none has come in time, the server is back.

With --keep-jumps the probes that are jumps stay: they count on, and so do handlers
that run in the program; what needs a stop is not counted. It is for a tracer that
only looks, such as strace: a breakpoint inside a jump, where gdb's break FUNCTION
may put one, ends the program.

With a COMMAND ptracer runs that as the other tracer, and has its exit status. A
thread that another tracer keeps stopped is in the way.`,
		Example: `  ptracer aside -p 1234 -- gdb -p 1234
  ptracer aside -p 1234 --wait 1m`,
		RunE: verb(func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); len(args) > 0 && n != 0 {
				return exit.Usage("%q: a COMMAND comes behind --", args[0])
			}
			if pid <= 0 || wait <= 0 {
				return exit.Usage("aside: give -p PID, and a --wait of more than 0")
			}
			return aside(cmd.ErrOrStderr(), pid, wait, engine.AsideOptions{KeepJumps: keep}, args)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVarP(&pid, "pid", "p", 0, "the process `PID`")
	f.BoolVar(&keep, "keep-jumps", false, "leave the probes that are jumps, which count on; the other tracer sets no breakpoints")
	f.DurationVar(&wait, "wait", 10*time.Second, "come back after `TIME` if no tracer has come")
	return cmd
}

var errNobody = errors.New("no server traces it: it is free for any tracer, or 'ptracer doctor' says what is in the way")

func aside(stderr io.Writer, pid int, wait time.Duration, o engine.AsideOptions, command []string) error {
	d := sharing.ServerOf(pid)
	list, err := d.Tracers(pid)
	if err != nil && !errors.Is(err, client.ErrNoServer) {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("process %d: %w", pid, errNobody)
	}
	d.Name = "ptracer aside"
	s, err := d.Attach(context.Background(), pid)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.StepAside(pid, wait, o); err != nil {
		return err
	}
	if len(command) == 0 {
		show.Say(stderr, "process %d is free for another tracer for %v", pid, wait)
		return nil
	}
	err = runAside(command)
	err = errors.Join(err, s.StepAside(pid, 0))
	return errors.Join(err, awaitReattached(s, pid))
}

// runAside runs a command as the other tracer. A terminal's Ctrl-C is for it.
func runAside(command []string) error {
	exit.Signals()
	c := exec.Command(command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := c.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return &exit.Ended{Status: failed.ExitCode()}
	}
	if err != nil {
		return exit.OfStart(command[0], err)
	}
	return nil
}

// backPatience is how long the server may take to see that the command has gone.
const backPatience = 10 * time.Second

// awaitReattached waits until the process is traced again, so that what comes next finds
// it so.
func awaitReattached(s engine.Session, pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), backPatience)
	defer cancel()
	for e := range s.Events(ctx) {
		if e.Kind() == event.KindReattached {
			return nil
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("process %d: it is not traced again within %v: another tracer has it", pid, backPatience)
	}
	return nil // it has ended
}
