package bench

import (
	"fmt"
	"os/exec"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
)

// hogs keep CPUs busy, one each, until the test ends.
func hogs(t *testing.T, n int) {
	for cpu := range n {
		cmd := exec.Command(tool(t, "taskset"), "-c", strconv.Itoa(cpu), fixture.Path(t, "spin"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
	}
}

// TestSharing compares the engine with and without the right to share the
// tracee's CPU: on a machine as it is, with one CPU kept busy by others, and two.
func TestSharing(t *testing.T) {
	amd64Only(t)
	table := results.add(&table{Title: "A hit while tracer and tracee share a CPU (SCHED_IDLE) or may not", Unit: "ns, less what the call costs"})
	alone := []string{tool(t, "setpriv"), "--bounding-set=-sys_nice", "--inh-caps=-sys_nice"}
	n := length(40000, 500)
	ways := []contender{
		{name: "ptracer, sharing", calls: n, attach: byEngine()},
		{name: "ptracer, without CAP_SYS_NICE", calls: n, attach: byEngine(alone...)},
		{name: rowLeast, calls: n, attach: inC("least", 1)},
		{name: rowFree, calls: n, attach: inC("least", -1)},
	}
	for busy := range 3 {
		t.Run(strconv.Itoa(busy), func(t *testing.T) {
			hogs(t, busy)
			column := fmt.Sprintf("%d busy CPUs", busy)
			for range turns(7) {
				for _, x := range ways {
					table.add(x.name, column, x.measure(t, hitCase{first: "lea", threads: 1}))
				}
			}
		})
	}
	table.ratio("sharing / not sharing", ways[0].name, ways[1].name)
}
