// Package bench measures what a probe costs with every method available on this machine: ptracer's,
// the kernel's, other tools', and the least that each mechanism allows. One run measures all and
// returns a report.Report.
//
// The measured program is made for this purpose (package internal/target). It takes the time
// itself, so that the figures include neither its start nor what happens before and after. Each
// measurement is a process of its own: it times the bare call, then the way puts its probe at the
// site, warms up, and is timed. The way's count is compared with the calls, and a way that has lost
// one has no figure. Measurements are jobs (plan.go). A round is each of them once, one after the
// other, so that a disturbance of the machine affects all of them, and a table's figure is the
// median of the rounds. The plan makes as many rounds as its time allows, and stops between two
// jobs.
//
// The engine runs in this process, each session on its own thread, as in the command. The ways that
// it is compared with are in internal/contender, and other tools are processes (peers.go). Run may
// be called from any goroutine, but only once at a time: concurrent measurements would disturb each
// other.
//
// It imports the engine's interface, never its implementation; only the command line imports it.
package bench
