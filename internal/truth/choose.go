package truth

import (
	"math/rand/v2"
	"runtime"
)

// ifunc is a program of its own, with one function.
var ifunc = Program{"ifunc", C}

// crowd is how many threads a program has that are more than ptracer tells apart by
// a table of its own.
const crowd = 1100

// special are rows that belong to no table: each is about one thing.
func special() (all []Row) {
	chosen := &Question{Verb: "count", Function: "chosen", check: checkCount}
	all = append(all, Row{Program: ifunc, Question: chosen, Rung: "auto", Rounds: 8, Threads: 1})
	if runtime.GOARCH == "amd64" { // emulated, a thousand threads take minutes
		for _, q := range []*Question{find("count", "mix"), find("hist", "mix"), find("latency", "spin")} {
			r := Row{Program: Programs[0], Question: q, Rung: "auto", Start: Direct, Rounds: 1, Threads: crowd}
			if q.Where() {
				r.Where = "auto"
			}
			all = append(all, r)
		}
	}
	return all
}

// find is the first question of a verb about a function.
func find(verb, function string) *Question {
	for i := range Questions {
		if q := &Questions[i]; q.Verb == verb && q.Function == function {
			return q
		}
	}
	return nil
}

// Choose divides the matrix into rows that always run and others, in a random order
// that a seed repeats. Each row gets a seed for its program's values.
func Choose(seed uint64, all []Row) (core, rest []Row) {
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range all {
		all[i].Seed = 1 + random.IntN(1<<20)
	}
	core = special()
	for i := range core {
		core[i].Seed = 1
	}
	chosen := map[int]bool{}
	for _, i := range deterministic(all) {
		if !chosen[i] {
			core = append(core, all[i])
		}
		chosen[i] = true
	}
	for i, r := range all {
		if !chosen[i] {
			rest = append(rest, r)
		}
	}
	random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return core, rest
}

// deterministic are the indices of the rows that always run: each question with each
// executor at the best rung and at jumps, and at each other rung with one of them, by
// programs and starts in turn; and each program with each verb. On arm64, which is
// emulated mostly, it is each verb with each executor.
func deterministic(all []Row) (core []int) {
	type method struct {
		question    *Question
		where, rung string
	}
	methods := map[method][]int{}
	var order []method
	seen := map[[2]string]bool{}
	for i, r := range all {
		m := method{r.Question, r.Where, r.Rung}
		switch {
		case runtime.GOARCH != "amd64":
			if r.Question != find(r.Question.Verb, "mix") || r.Rung != "auto" {
				continue
			}
		case r.Rung == "emulate" && r.Program.Language != Assembly && r.Question.Function == "mix":
			continue // where it can be right
		case r.Rung != "auto" && r.Rung != "jump":
			if e, _ := r.Expect(); e == Refused {
				continue
			}
			m.where = ""
		case r.Rung == "auto" && r.Where != "kernel" && r.Start == Command && !seen[[2]string{r.Program.Fixture, r.Question.Verb}]:
			seen[[2]string{r.Program.Fixture, r.Question.Verb}] = true
			core = append(core, i)
		}
		if methods[m] == nil {
			order = append(order, m)
		}
		methods[m] = append(methods[m], i)
	}
	turn := 0
	for _, m := range order {
		turn += 5 // no divisor of the number of programs, executors or starts
		core = append(core, methods[m][turn%len(methods[m])])
	}
	return core
}
