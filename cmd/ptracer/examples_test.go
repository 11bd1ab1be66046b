package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// harness is the shell's part of examples: ptracer runs as the example says, but for
// verbs that take long, or want a file that is not there: of these the flags are
// looked at. What is about a running process ends by the answer that there is none.
const harness = `
ptracer() {
	case "$1" in
	serve|bench|run|handlers) v=$1; shift; command ptracer "$v" --help "$@" >/dev/null || exit 9; return ;;
	esac
	got=0
	command ptracer "$@" </dev/null || got=$?
	case "$got $*" in
	0\ *) ;;
	1\ *NOBODY*|1\ doctor*) return 1 ;;
	*) echo "exit status $got of: ptracer $*" >&2; exit 9 ;;
	esac
}
sudo() { "$@"; }
sleep() { :; }
benchstat() { :; }
{ EXAMPLE
} || test $? -ne 9 || exit 9
wait
`

// nobody is a process that there is not, in the place of the examples'.
const nobody = "999999999"

// examples runs the examples of all verbs' helps.
func examples(ts *testscript.TestScript, _ bool, _ []string) {
	var list []string
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			list = append(list, strings.TrimSpace(line))
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(newRoot())
	if len(list) < 30 {
		ts.Fatalf("there are only %d examples: %q", len(list), list)
	}
	for _, line := range list {
		shell := strings.NewReplacer("NOBODY", nobody, "EXAMPLE", strings.ReplaceAll(line, "1234", nobody)).Replace(harness)
		if err := ts.Exec("sh", "-c", shell); err != nil {
			ts.Fatalf("%s: %v", line, err)
		}
	}
}
