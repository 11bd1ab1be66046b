package truth

import (
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ptracer/ptracer/engine/handler/kernel"
	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// budget is for how long rows are begun that are chosen by chance, where PTRACER_TRUTH
// does not say; those that always run take what they take.
func budget(t *testing.T) time.Duration {
	switch text := os.Getenv("PTRACER_TRUTH"); {
	case text == "all":
		return math.MaxInt64
	case text != "":
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("PTRACER_TRUTH: %v; it is all, or a time such as 10m", err)
		}
		return d
	case testing.Short() || runtime.GOARCH != "amd64": // which is emulated mostly
		return 0
	}
	return time.Minute
}

// matrix runs rows and keeps the score.
type matrix struct {
	t        *testing.T
	tool     *tool
	programs map[string]string // fixtures' paths
	mu       sync.Mutex
	scores   map[judgement]int
	right    map[string]bool // verbs with an executor or a rung that were right at least once
	faulty   int
}

// TestMatrix holds what ptracer prints against what programs say of themselves.
// PTRACER_TRUTH=all runs all rows, PTRACER_TRUTH=10m some for that long;
// PTRACER_TEST_SEED=N repeats a random choice.
func TestMatrix(t *testing.T) {
	seed := uint64(time.Now().UnixNano() % 1_000_000)
	if text := os.Getenv("PTRACER_TEST_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("PTRACER_TEST_SEED=%d", seed)
	m := &matrix{t: t, tool: newTool(t), programs: map[string]string{}, scores: map[judgement]int{}, right: map[string]bool{}}
	core, rest := Choose(seed, m.possible(Rows()))
	core = m.possible(core)
	began, most := time.Now(), budget(t)
	m.runAll(core, func() bool { return true })
	m.checkCovered(core)
	t.Logf("%d rows that always run took %v", len(core), time.Since(began))
	m.runAll(rest, func() bool { return time.Since(began) < most })
	t.Logf("%d rows right, %d refused, %d wrong for known faults; of %d", m.scores[right], m.scores[refused], m.faulty, len(core)+len(rest))
}

// possible leaves out what this machine has no program for, or no eBPF.
func (m *matrix) possible(all []Row) (rows []Row) {
	bpf := kernel.Available()
	missing := map[string]bool{}
	for _, r := range all {
		name := r.Program.Fixture
		if _, known := m.programs[name]; !known {
			m.programs[name] = "" // stays so where it is missing
			m.t.Run(name, func(t *testing.T) { m.programs[name] = fixture.Path(t, name) })
		}
		switch {
		case m.programs[name] == "":
		case r.Where == "kernel" && bpf != nil && !isRefused(&r):
			missing["eBPF: "+bpf.Error()] = true
		default:
			rows = append(rows, r)
		}
	}
	for what := range missing {
		m.t.Run("kernel", func(t *testing.T) { skip.Missing(t, what) })
	}
	return rows
}

func isRefused(r *Row) bool {
	e, _ := r.Expect()
	return e == Refused
}

// runAll runs rows, one a CPU at a time, as long as there is time to begin one.
func (m *matrix) runAll(rows []Row, more func() bool) {
	next := make(chan *Row)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		dir := m.t.TempDir()
		wg.Go(func() {
			for r := range next {
				m.run(dir, r)
			}
		})
	}
	for i := range rows {
		if !more() {
			break
		}
		next <- &rows[i]
	}
	close(next)
	wg.Wait()
}

// run runs one row. What is wrong is told with the command that repeats it.
func (m *matrix) run(dir string, r *Row) {
	program := m.programs[r.Program.Fixture]
	o, err := m.tool.run(dir, r, program)
	j := wrong
	if err == nil {
		j, err = r.judge(o)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fault := r.Fault()
	switch {
	case fault != nil && j == wrong:
		m.faulty++
		return
	case fault != nil && j == right:
		m.t.Errorf("%s\n  is right. Is the fault mended? Then its line in Faults is to go: %s", r.CommandLine(program), fault.Name)
	case err != nil:
		m.t.Errorf("%s\n  %s", r.CommandLine(program), strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "\n  "))
	}
	m.scores[j]++
	if j == right {
		for _, what := range r.methods() {
			m.right[what] = true
		}
	}
}

// methods are what is covered when a row was right.
func (r *Row) methods() []string {
	list := []string{r.Question.Verb + " --method " + r.Rung}
	if r.Where != "" {
		list = append(list, r.Question.Verb+" --where "+r.Where)
	}
	return list
}

// checkCovered holds that each verb was right with each executor and at each rung, at
// some place: rows that are refused prove nothing.
func (m *matrix) checkCovered(core []Row) {
	if runtime.GOARCH != "amd64" {
		return // few rows, and what a CPU can do differs
	}
	able := map[string]bool{}
	for _, r := range core {
		for _, what := range r.methods() {
			able[what] = able[what] || !isRefused(&r)
		}
	}
	delete(able, "latency --method emulate") // no function ends in what is emulated
	for _, what := range slices.Sorted(maps.Keys(able)) {
		if able[what] && !m.right[what] {
			m.t.Errorf("no row of ptracer %s was right: all were refused or wrong", what)
		}
	}
}
