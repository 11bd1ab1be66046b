package truth

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// torn is a line with a divider too many.
const torn = `pid 7
call mix 7 0 50 fffffffffffffffe 5 fffffffffffffff0 ffffffffffffffff 1000 8000000000000000 0|be|ta|
`

// output is of a program with two threads.
const output = `pid 7
call mix 7 0 50 fffffffffffffffe 5 fffffffffffffff0 ffffffffffffffff 1000 8000000000000000 0|beta|
call mix 8 0 20 10001 ffffffffffffffff 3 2 1005 40 1||
call spin 7 64 c8 64 64 0 0 0 0 0||
call name 8 0 1 1000 0 0 0 0 0 0||beta
`

func TestParse(t *testing.T) {
	truth, err := Parse(output)
	if err != nil {
		t.Fatal(err)
	}
	want := Call{Function: "mix", TID: 7, Outer: 0x50, Ret: 1<<64 - 2, Args: [6]uint64{5, 1<<64 - 16, 1<<64 - 1, 0x1000, 1 << 63, 0}, Text: "beta"}
	if truth.PID != 7 || len(truth.Calls) != 4 || !reflect.DeepEqual(truth.Of("mix")[0], want) || truth.Of("name")[0].Result != "beta" {
		t.Errorf("%+v", truth)
	}
	for _, text := range []string{"", "pid 7\n", "pid x\n", output + "oops\n", torn, strings.Replace(output, " 64 c8", " 64", 1), strings.Replace(output, "c8", "xx", 1)} {
		if truth, err := Parse(text); err == nil {
			t.Errorf("%q: %+v, want an error", text, truth)
		}
	}
}

// TestCheck holds answers that are right, and such that are wrong in one number or
// string, against a truth.
func TestCheck(t *testing.T) {
	truth, err := Parse(output)
	if err != nil {
		t.Fatal(err)
	}
	const (
		hist   = `{"result":{"count":2,"sum":-13,"min":-16,"max":3,"under":1,"buckets":[{"lo":2,"hi":3,"count":1}]}}`
		top    = `{"result":{"count":2,"sum":9223372036854775872,"min":64,"max":9223372036854775808,"buckets":[{"lo":64,"hi":127,"count":1},{"lo":128,"hi":255,"count":0},{"lo":9223372036854775808,"hi":18446744073709551615,"count":1}]}}`
		steps  = `{"result":{"count":2,"sum":4,"min":-1,"max":5,"under":1,"over":1,"buckets":[]}}`
		record = `{"tid":7,"fields":{"a":5,"str":"beta","ret":-2},"took_ns":80}` + "\n" + `{"tid":8,"fields":{"a":-1,"str":"","ret":65537},"took_ns":3}`
		traced = `{"event":"hit","tid":8,"args":["0xffffffffffffffff",2,""]}` + "\n" + `{"event":"hit","tid":7,"args":["0x5",-1,"beta"]}`
	)
	recorded := &Question{Function: "mix", values: []string{"a", "str", "ret"}, check: checkRecords}
	for _, c := range []struct {
		name   string
		q      *Question
		answer string
		wrong  [][2]string // what makes the answer wrong
	}{
		{"count", &Question{Function: "mix", check: checkCount}, `{"hits":2}`, [][2]string{{"2", "4"}, {`{"hits":2}`, ""}}},
		{"hits", &Question{Function: "mix", holds: func(c *Call) bool { return int32(c.Args[2]) < 0 }, check: checkHits}, `{"hits":1}`,
			[][2]string{{"1", "2"}, {`"hits":1`, `"hits":1,"unread":1`}, {`{"hits":1}`, ""}}},
		{"hist", &Question{Function: "mix", values: []string{"b"}, check: checkHistogram}, hist,
			[][2]string{{`"count":2`, `"count":3`}, {"-13", "13"}, {"-16", "0"}, {`"max":3`, `"max":4`}, {`"under":1,`, ""}, {`"lo":2`, `"lo":1`}}},
		{"hist, unsigned", &Question{Function: "mix", values: []string{"ue"}, check: checkHistogram}, top, [][2]string{{"5872", "5871"}, {`"lo":64`, `"lo":128`}}},
		{"hist, linear", &Question{Function: "mix", values: []string{"a"}, linear: [3]int64{0, 4, 2}, check: checkHistogram}, steps, [][2]string{{`"over":1`, `"over":0`}}},
		{"latency", &Question{Function: "spin", check: checkLatency}, `{"result":{"count":1,"sum_ns":150,"min_ns":150,"max_ns":150}}`,
			[][2]string{{`"count":1`, `"count":0`}, {`"sum_ns":150`, `"sum_ns":99`}, {`"max_ns":150`, `"max_ns":201`}, {`"min_ns":150`, `"min_ns":99`}, {`"count":1`, `"count":1,"lost":1`}}},
		{"stacks", &Question{Function: "mix", check: checkStacks}, `{"hits":2,"frames":[{"function":"mix"}]}`,
			[][2]string{{"2", "1"}, {"mix", "max"}, {`{"function":"mix"}`, ""}}},
		{"record", recorded, record, [][2]string{{"65537", "1"}, {`"beta"`, `"be"`}, {`"tid":8`, `"tid":9`}, {`"took_ns":80`, `"took_ns":81`}, {record, record + "\n" + record}, {record, ""}}},
		{"trace", &Question{Function: "mix", values: []string{"hex a", "c", "str"}, check: checkTrace}, traced,
			[][2]string{{"0x5", "0x6"}, {"-1", "1"}, {"hit", "missed"}, {`"tid":8`, `"tid":7`}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			judge := func(text string) error {
				a, err := Read(text, "")
				if err != nil {
					t.Fatal(err)
				}
				return c.q.Check(truth, a)
			}
			if err := judge(c.answer); err != nil {
				t.Errorf("the truth: %v", err)
			}
			for _, w := range c.wrong {
				text := strings.Replace(c.answer, w[0], w[1], 1)
				if text == c.answer || judge(text) == nil {
					t.Errorf("passes: %s", text)
				}
			}
		})
	}
}

func TestMethod(t *testing.T) {
	a := &Answer{Said: "ptracer: mix%return: 3 places: 2 by jump, 1 by pun\n"}
	if err := (&Row{Rung: "jump"}).CheckMethod(a); err != nil {
		t.Error(err)
	}
	for _, r := range []Row{{Rung: "trap"}, {Rung: "hardware"}, {Where: "kernel", Rung: "auto"}} {
		if r.CheckMethod(a) == nil {
			t.Errorf("%+v passes by jumps", r)
		}
	}
	if (&Row{Rung: "auto"}).CheckMethod(&Answer{}) == nil {
		t.Error("nothing is said of a method, and that passes")
	}
}

// TestChoose has the same rows for the same seed, others for another, and all of them.
func TestChoose(t *testing.T) {
	lines := func(rows []Row) (list []string) { // of the first ones
		for _, r := range rows[:min(len(rows), 500)] {
			list = append(list, r.CommandLine(r.Program.Fixture))
		}
		return list
	}
	core, rest := Choose(3, Rows())
	core2, rest2 := Choose(3, Rows())
	if !slices.Equal(lines(core), lines(core2)) || !slices.Equal(lines(rest), lines(rest2)) {
		t.Error("the same seed, other rows")
	}
	if _, other := Choose(4, Rows()); slices.Equal(lines(rest), lines(other)) {
		t.Error("another seed, the same rows")
	}
	if got, want := len(core)+len(rest), len(Rows())+len(special()); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

func TestCommandLine(t *testing.T) {
	r := Row{Program: Program{"truth-go", Go}, Question: &Question{Verb: "count", Function: "mix", Return: true, Flags: []string{"--filter", "{e} != 0"}},
		Where: "engine", Rung: "trap", Rounds: 8, Seed: 5, Threads: 2}
	const want = `ptracer count --json -v --filter 'arg5 != 0' --where engine --method trap main.mix%return -- ./truth-go 8 5 2`
	if got := r.CommandLine("./truth-go"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r.Start = Direct
	const attached = `{ sleep 2 | ./truth-go 8 5 2 wait & }; sleep 1; ptracer count --json -v --filter 'arg5 != 0' --where engine --method trap --direct -p $(pgrep -nf ./truth-go) main.mix%return`
	if got := r.CommandLine("./truth-go"); got != attached {
		t.Errorf("got  %s\nwant %s", got, attached)
	}
}
