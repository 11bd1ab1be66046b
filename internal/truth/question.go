package truth

import "strings"

// Question is something that a user asks of ptracer about one function.
type Question struct {
	Verb     string
	Function string
	Return   bool     // at FUNCTION%return
	Flags    []string // {a} to {f} stand for arguments of mix
	Words    string   // behind the location, in its word: what trace is to show
	Again    string   // a further location, of the same place
	values   []string // keys of values: what is shown, in this order
	linear   [3]int64 // of hist: from, to, step
	holds    func(c *Call) bool
	Args     bool // the answer depends on what the arguments are
	check    func(q *Question, calls []Call, a *Answer) error
}

// Where says whether the verb lets its user choose the executor.
func (q *Question) Where() bool {
	return q.Verb != "trace" && (q.Verb != "count" || len(q.Flags) > 0)
}

// Result says whether the answer needs the function's result.
func (q *Question) Result() bool {
	return strings.Contains(strings.Join(append(q.Flags, q.Words), " "), "ret")
}

// Name is the question in short.
func (q *Question) Name() string {
	return strings.TrimSpace(q.Verb + " " + strings.Join(append(append([]string{}, q.Flags...), q.place(), q.Words), " "))
}

func (q *Question) place() string {
	if q.Return {
		return q.Function + "%return"
	}
	return q.Function
}

// Check holds an answer against the program's truth.
func (q *Question) Check(t *Truth, a *Answer) error {
	calls := t.Of(q.Function)
	if q.holds != nil {
		kept := calls[:0:0]
		for _, c := range calls {
			if q.holds(&c) {
				kept = append(kept, c)
			}
		}
		calls = kept
	}
	return q.check(q, calls, a)
}

// Questions are all of the matrix.
var Questions = makeQuestions()

func makeQuestions() (all []Question) {
	for _, f := range []string{"mix", "small", "name", "fact", "spin"} {
		all = append(all,
			Question{Verb: "count", Function: f, check: checkCount},
			Question{Verb: "count", Function: f, Return: true, check: checkCount})
	}
	all = append(all, Question{Verb: "count", Function: "mix", Again: "mi?", check: checkCount})
	all = append(all, filtered()...)
	all = append(all, histograms()...)
	all = append(all,
		Question{Verb: "latency", Function: "spin", check: checkLatency},
		Question{Verb: "latency", Function: "fact", check: checkLatency},
		Question{Verb: "latency", Function: "mix", check: checkLatency},
		Question{Verb: "stacks", Function: "mix", check: checkStacks},
		Question{Verb: "stacks", Function: "fact", check: checkStacks})
	all = append(all, records()...)
	return append(all, traces()...)
}

// filtered are counts of the calls for which a condition holds: all, none, some.
func filtered() (all []Question) {
	count := func(f, filter string, returns, args bool, holds func(c *Call) bool) {
		all = append(all, Question{Verb: "count", Function: f, Flags: []string{"--filter", filter}, Return: returns, Args: args, holds: holds, check: checkHits})
	}
	always := func(*Call) bool { return true }
	never := func(*Call) bool { return false }
	count("mix", "{b} == {b}", false, false, always)
	count("mix", "{a} != {a}", false, false, never)
	count("mix", "int({c}) < 0", false, true, func(c *Call) bool { return int32(c.Args[2]) < 0 })
	count("mix", "{e} >= 4096", false, true, func(c *Call) bool { return int64(c.Args[4]) >= 4096 })
	count("mix", "uint64({e}) >= 4096 && {f} != 0", false, true, func(c *Call) bool { return c.Args[4] >= 4096 && c.Args[5] != 0 })
	count("mix", `str({text}) == "beta" || str({text}) =~ "gam*"`, false, true, func(c *Call) bool { return c.Text == "beta" || c.Text == "gamma delta" })
	count("mix", "ret & 0xffff == 0", false, false, func(c *Call) bool { return c.Ret&0xffff == 0 })
	count("mix", "ret < 0", true, false, func(c *Call) bool { return int64(c.Ret) < 0 })
	count("small", "int(ret) < 0", false, false, func(c *Call) bool { return int32(c.Ret) < 0 })
	count("small", "int16(arg1) > 100", false, true, func(c *Call) bool { return int16(c.Args[1]) > 100 })
	count("fact", "arg0 == 2", false, true, func(c *Call) bool { return c.Args[0] == 2 })
	return all
}

func histograms() (all []Question) {
	for _, h := range []struct{ function, value string }{
		{"mix", "a"}, {"mix", "ua"}, {"mix", "b"}, {"mix", "c"}, {"mix", "e"}, {"mix", "ue"}, {"mix", "f"}, {"mix", "ret"},
		{"mix", "uret"}, {"mix", "ret16"}, {"mix", "sret16"}, {"small", "iret"}, {"small", "short"}, {"fact", "n"}, {"fact", "ret"},
	} {
		v := values[h.value]
		all = append(all, Question{Verb: "hist", Function: h.function, Flags: []string{"--of", v.text}, values: []string{h.value},
			Args: !strings.Contains(v.text, "ret"), check: checkHistogram})
	}
	return append(all,
		Question{Verb: "hist", Function: "mix", Flags: []string{"--of", "ret"}, Return: true, values: []string{"ret"}, check: checkHistogram},
		Question{Verb: "hist", Function: "small", Flags: []string{"--of", "int(ret)", "--linear=-20000:20000:1000"}, values: []string{"iret"},
			linear: [3]int64{-20000, 20000, 1000}, check: checkHistogram},
		Question{Verb: "hist", Function: "fact", Flags: []string{"--of", "arg0", "--linear", "1:4:1"}, values: []string{"n"},
			linear: [3]int64{1, 4, 1}, Args: true, check: checkHistogram},
		Question{Verb: "hist", Function: "mix", Flags: []string{"--of", "{b}", "--filter", "{b} < 0"}, values: []string{"b"}, Args: true,
			holds: func(c *Call) bool { return int64(c.Args[1]) < 0 }, check: checkHistogram})
}

func records() (all []Question) {
	record := func(f string, returns, args bool, fields ...string) {
		texts := make([]string, len(fields))
		for i, name := range fields {
			texts[i] = values[name].text
		}
		all = append(all, Question{Verb: "record", Function: f, Flags: []string{"--fields", strings.Join(texts, ",")},
			Return: returns, Args: args, values: fields, check: checkRecords})
	}
	record("mix", false, true, "a", "b", "c", "str", "ue", "f")
	record("mix", false, true, "text", "a", "b", "c", "str", "ret")
	record("mix", true, false, "ret", "uret", "ret16", "sret16")
	record("small", false, true, "int", "short", "iret")
	record("name", false, false, "ret", "strret")
	record("name", true, false, "strret")
	record("fact", false, true, "n", "ret")
	record("spin", false, false, "ret")
	all = append(all, Question{Verb: "record", Function: "mix", Flags: []string{"--fields", "{a},str({text})", "--filter", "int({c}) > 0"}, Args: true,
		values: []string{"a", "str"}, holds: func(c *Call) bool { return int32(c.Args[2]) > 0 }, check: checkRecords})
	return all
}

func traces() []Question {
	return []Question{
		{Verb: "trace", Function: "mix", Words: "{a} {b}:long {c}:int {text}:str {e} {f}", Args: true,
			values: []string{"hex a", "b", "c", "str", "hex e", "hex f"}, check: checkTrace},
		{Verb: "trace", Function: "mix", Return: true, Words: "ret", values: []string{"hex ret"}, check: checkTrace},
		{Verb: "trace", Function: "small", Return: true, Words: "ret:int", values: []string{"iret"}, check: checkTrace},
		{Verb: "trace", Function: "name", Return: true, Words: "ret:str", values: []string{"strret"}, check: checkTrace},
		{Verb: "trace", Function: "fact", Words: "arg0:long", Args: true, values: []string{"n"}, check: checkTrace},
		{Verb: "trace", Function: "spin", values: nil, check: checkTrace},
	}
}
