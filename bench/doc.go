// Package bench measures what a probe costs by every way that there is on this
// machine: ours, the kernel's, those of other tools, and the least that each
// mechanism allows. One run measures all, and gives a report.Report.
//
// Mechanism. The measured program is one of our own making (package
// internal/target): it takes the time itself, so that neither start-up nor what
// happens before and after is in the figures. Each measurement is a process of
// its own: the bare call is timed in it, then the way puts itself at the site,
// is warmed up, and timed; what it has counted is held against the calls, and
// a way that lost one has no figure. Measurements are jobs (plan.go); a round is
// each of them once, one after the other, so that what disturbs the machine for
// a while disturbs all, and a table's figure is the median of the rounds. The
// plan makes as many rounds as its time allows, and stops between two jobs.
//
// The engine runs in this process, each session on its own thread, as it does
// in the command. What it is compared with is in internal/contender, and other
// tools are processes (peers.go). Run may be called from any goroutine, once
// at a time: measurements beside each other would measure each other.
//
// It imports the engine's interface, never what is behind it; nothing but the
// command line imports it.
package bench
