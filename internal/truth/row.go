package truth

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Start is how ptracer gets at the program.
type Start int

// Starts.
const (
	Command Start = iota // ptracer starts it
	Direct               // it runs already: -p --direct
	Shared               // it runs already: -p, through the server
)

// Row is one row of the matrix: one run of ptracer.
type Row struct {
	Program  Program
	Question *Question
	Where    string // "" where the verb has no choice
	Rung     string
	Start    Start
	Rounds   int // of the program's calls
	Seed     int
	Threads  int
}

// Wheres and Rungs are what users can ask for.
var (
	Wheres = []string{"auto", "tracee", "engine", "kernel"}
	Rungs  = []string{"auto", "jump", "trap", "slot", "emulate", "step", "hardware"}
	Starts = []Start{Command, Direct, Shared}
)

// Rows are all of the matrix. The kernel knows no rungs but its own: that it can't be
// asked for another is asked of one.
func Rows() (all []Row) {
	for _, p := range Programs {
		for i := range Questions {
			q := &Questions[i]
			if p.Language == Assembly && q.Function == "spin" && q.Result() {
				continue // it ends by a jump to another function, which has the result
			}
			all = append(all, rowsOf(p, q)...)
		}
	}
	return all
}

func rowsOf(p Program, q *Question) (all []Row) {
	wheres := []string{""}
	if q.Where() {
		wheres = Wheres
	}
	for _, where := range wheres {
		for _, rung := range Rungs {
			if where == "kernel" && rung != "auto" && rung != "jump" {
				continue
			}
			for _, start := range Starts {
				all = append(all, Row{Program: p, Question: q, Where: where, Rung: rung, Start: start, Rounds: 8, Threads: 1 + len(all)%3})
			}
		}
	}
	return all
}

// Expectation is what a row's outcome has to be.
type Expectation int

// Expectations.
const (
	Right          Expectation = iota // the true answer, by the method that was asked for
	RightOrRefused                    // that, or an error: not every place can be served so
	Refused                           // an error
)

// Expect says what a row's outcome has to be, and why where it is not simply right.
func (r *Row) Expect() (Expectation, string) {
	q := r.Question
	stops := r.Where == "engine" || q.Verb == "trace" || q.Verb == "stacks" && r.Where != "kernel"
	switch {
	case r.Where == "tracee" && q.Verb == "stacks":
		return Refused, "no machine code walks stacks"
	case r.Where == "kernel" && r.Rung != "auto":
		return Refused, "a handler in the kernel is at a uprobe"
	case r.Rung == "jump" && stops:
		return Refused, "a stop needs a trap"
	case r.Where == "kernel":
		return RightOrRefused, "the kernel has no uprobe everywhere"
	case r.Rung == "jump":
		return RightOrRefused, "jumps need room"
	case r.Rung == "emulate":
		return RightOrRefused, "few instructions are emulated"
	case r.Rung == "hardware":
		return RightOrRefused, "debug registers are few"
	case r.Program.Language == Go && runtime.GOARCH == "amd64" && strings.Contains(strings.Join(q.Flags, " ")+q.Words, "{f}"):
		return RightOrRefused, "the seventh argument has a register in Go's convention only"
	}
	return Right, ""
}

// method are the rungs that serve what --method asks for.
var method = map[string][]string{
	"jump":     {"jump", "pun"},
	"trap":     {"trap+slot"},
	"slot":     {"trap+slot"},
	"emulate":  {"trap+emulate"},
	"step":     {"trap+step"},
	"hardware": {"hardware"},
}

// CheckMethod holds the rungs that served a row against what it asks for.
func (r *Row) CheckMethod(a *Answer) error {
	rungs := a.Rungs()
	allowed := method[r.Rung]
	switch {
	case len(rungs) == 0:
		return fmt.Errorf("method: nothing is said of it")
	case r.Where != "kernel" && notNoted(a) > 0:
		return fmt.Errorf("%d stacks are not noted: there is room", notNoted(a))
	case r.Where == "kernel":
		allowed = []string{"kernel"}
	case allowed == nil:
		return nil
	}
	for _, rung := range rungs {
		if !slices.Contains(allowed, rung) {
			return fmt.Errorf("method: wanted %s, got %s", strings.Join(allowed, " or "), strings.Join(rungs, ", "))
		}
	}
	return nil
}

// Args are ptracer's arguments, but for the output file; pid is the process's where it
// runs already, else program is its path.
func (r *Row) Args(program string, pid int) []string {
	q := r.Question
	args := []string{q.Verb, "--json", "-v"}
	for _, f := range q.Flags {
		args = append(args, r.Program.fill(f))
	}
	if r.Where != "" {
		args = append(args, "--where", r.Where)
	}
	if r.Rung != "auto" {
		args = append(args, "--method", r.Rung)
	}
	if r.Start == Direct {
		args = append(args, "--direct")
	}
	if r.Start != Command {
		args = append(args, "-p", fmt.Sprint(pid))
	}
	prefix := prefixes[r.Program.Language][q.Function]
	args = append(args, strings.TrimSpace(prefix+q.place()+" "+r.Program.fill(q.Words)))
	if q.Again != "" {
		args = append(args, prefix+q.Again)
	}
	if r.Start == Command {
		args = append(append(args, "--", program), r.ProgramArgs()...)
	}
	return args
}

// ProgramArgs are the program's arguments.
func (r *Row) ProgramArgs() []string {
	args := []string{fmt.Sprint(r.Rounds), fmt.Sprint(r.Seed), fmt.Sprint(r.Threads)}
	if r.Start != Command {
		args = append(args, "wait")
	}
	return args
}

// CommandLine repeats a row by hand: its answer, and the truth behind it.
func (r *Row) CommandLine(program string) string {
	run := append([]string{program}, r.ProgramArgs()...)
	args := append([]string{"ptracer"}, r.Args(program, 0)...)
	line := quote(args)
	if r.Start != Command {
		i := slices.Index(args, "-p")
		line = fmt.Sprintf("{ sleep 2 | %s & }; sleep 1; %s -p $(pgrep -nf %s) %s", quote(run), quote(args[:i]), program, quote(args[i+2:]))
	}
	return line
}

// quote makes words one line for a shell.
func quote(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; strings.ContainsAny(w, " '\"&|<>{}()*?!=$;") || w == "" {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
