// Package tasks is a session's thread and the tasks that it traces: the queue of requests,
// waiting for stops, holding tasks and letting them go, and which tasks and processes there
// are. What a stop leads to is the Decider's.
//
// All requests of ptrace must come from the thread that has attached (ptrace(2)), so that
// everything here, but Do, is called on that thread; there are no locks but the queue's.
package tasks
