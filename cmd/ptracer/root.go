package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

const about = `ptracer puts probes into programs, new or already running, with nothing but
ptrace: no kernel module, no eBPF, no agent library, no restart. Counts are
exact, the program's results do not change, and it survives ptracer's death.

A LOCATION is [BINARY:]FUNCTION[+OFFSET] or [BINARY:]FILE:LINE. BINARY is the name of the program or
of a library ("libc" finds libc.so.6); without one the program comes before
its libraries. Both may be globs, to be quoted from the shell:

  main, bash:execute_command, 'libc:mem*', '*:*alloc*'
  FUNCTION+0        its first instruction; a Go function starts again there for
                    more stack, so FUNCTION is where each call comes by once
  FUNCTION%return   the function's exits, with its result
  FUNCTION+*        every instruction of it
  store.c:212       a line of the source, with debug information (-g); also
                    FUNCTION:LINE and FILE:LINE:COLUMN
  *ADDRESS          an address in the process

A program that runs already is named with -p; a new one is started with what
follows "--". Exit status: the command's if there is one (128+n where a signal
n ended it), else 0; 1 if ptracer failed, 2 for wrong usage, 126 or 127 for
a command that can't be executed or found.`

func newRoot() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ptracer",
		Short: "Probes in running programs, by ptrace",
		Long:  about,
		Example: `  ptracer count 'libc:malloc' -- ls -l /
  ptracer trace -p 1234 'main.serve'
  ptracer hist 'libc:malloc' -- ls -l /
  ptracer latency -p 1234 -d 10s 'libc:read'
  ptracer stacks -p 1234 -o malloc.pb.gz 'libc:malloc'
  ptracer probes -p 1234 'libc:mem*'
  ptracer doctor 1234
  ptracer bench --quick`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		Version:       version(),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetVersionTemplate("ptracer {{.Version}}\n")
	cmd.AddCommand(newCount(), newTrace(), newHist(), newLatency(), newStacks(), newRecord(), newProbes(), newRead(), newStop(), newHandlers(), newRun(), newServe(), newTracers(), newTop(), newAside(), newDoctor(), newBench(), newVersion())
	return cmd
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { cmd.Printf("ptracer %s\n", version()) },
	}
}

// version is what the build knows: a tag, or a commit.
func version() string {
	v := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return v + " " + runtime.GOOS + "/" + runtime.GOARCH
}
