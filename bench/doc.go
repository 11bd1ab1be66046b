// Package bench measures what a stop costs: a hit of a counting trap probe,
// sharing a CPU during a storm of hits, attaching and detaching, and planting
// thousands of probes; each against other tools, in one run.
//
// Mechanism. The traced program takes the time itself, so that neither start-up
// nor what happens before and after is in it. Every contender is a process of
// its own that attaches to the program and says when it is ready: the engine
// (this test binary, started again), a tracer in C, gdb, strace. The kernel's
// uprobes are counted through perf_event_open. Contenders take turns, and a
// figure is the median of all turns.
//
// Everything is in test files: `go test` makes one short turn and checks that
// all count right; `make bench` makes many and prints tables, for people and
// as JSON. It imports what tests may import; nothing imports it.
package bench
