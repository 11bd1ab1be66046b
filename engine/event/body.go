package event

import "github.com/ptracer/ptracer/arch"

// Body is what has happened: a pointer to one of the types of this package that are named for the
// kinds, or what NewBody returns for a kind without a type.
type Body interface {
	Kind() Kind
	body() // only types of this package are bodies
}

// MaxArgs is how many arguments a hit can carry.
const MaxArgs = 8

// Hit is a hit of a probe that tells its hits.
type Hit struct {
	Probe    ProbeID
	Location string          // the place's name, BINARY:FUNCTION[+OFF]
	Addr     arch.Addr       // the program counter
	Calls    arch.Convention // the calling convention of the function there
	NArgs    int             // how many of Args are set
	Args     [MaxArgs]uint64 // integer arguments; at an exit the result alone
	Strings  []string        // for each of Args the string that it points to, if the probe asks for it
}

// Stopped is a task that has stopped and waits for Resume: at a probe that stops, or because of a
// request.
type Stopped struct {
	Hit        // the place; Probe is 0 if no probe has stopped the task, and then only Addr is set
	Signal int // what the task is about to get, or 0
}

// Signal is a signal that is about to be delivered.
type Signal struct{ Signal int }

// Fork is a new child process (fork, vfork, clone).
type Fork struct{ Child int }

// Clone is a new thread of the process.
type Clone struct{ Child int }

// Exec is a new program that the process runs.
type Exec struct{ Path string }

// Library is a new ELF object that the process has mapped.
type Library struct {
	Path string
	Addr arch.Addr // where it begins
}

// Unload is an ELF object that the process has unmapped.
type Unload struct {
	Path string
	Addr arch.Addr // where it began
}

// Exit is the end of a process.
type Exit struct {
	Status int    // the exit code
	Signal int    // what has killed the process, 0 if it has exited
	Text   string // why neither is known; "" if they are
}

// Dropped says that events before this one were dropped, because the consumer was too slow.
type Dropped struct{ Count uint64 }

// Warning says that a request could not be met, or not all of it.
type Warning struct{ Text string }

// Print is what a handler has printed.
type Print struct {
	Probe    ProbeID
	Location string    // the place's name, as of a Hit
	Addr     arch.Addr // the program counter
	Text     string
}

// Released says that the session has detached from the process for another tracer, for a while.
type Released struct{ Text string }

// Reattached says that a released process is traced again.
type Reattached struct{ Text string }

// ControlRequested says that another tracer, which Text names, asks for control of the process.
type ControlRequested struct{ Text string }

// Failed says that the session has failed. Its processes continue, without their probes.
type Failed struct{ Text string }

// unknown is the body of a kind that has no type here: a newer server tells it.
type unknown struct{ kind Kind }

// bodies makes an empty body of each kind.
var bodies = [kinds]func() Body{
	KindHit:              func() Body { return &Hit{} },
	KindStopped:          func() Body { return &Stopped{} },
	KindSignal:           func() Body { return &Signal{} },
	KindFork:             func() Body { return &Fork{} },
	KindClone:            func() Body { return &Clone{} },
	KindExec:             func() Body { return &Exec{} },
	KindLibrary:          func() Body { return &Library{} },
	KindUnload:           func() Body { return &Unload{} },
	KindExit:             func() Body { return &Exit{} },
	KindDropped:          func() Body { return &Dropped{} },
	KindWarning:          func() Body { return &Warning{} },
	KindPrint:            func() Body { return &Print{} },
	KindReleased:         func() Body { return &Released{} },
	KindReattached:       func() Body { return &Reattached{} },
	KindControlRequested: func() Body { return &ControlRequested{} },
	KindFailed:           func() Body { return &Failed{} },
}

// NewBody returns an empty body of a kind, nil for 0. A kind without a type here gets a body that
// has nothing but its number.
func NewBody(k Kind) Body {
	switch {
	case k == 0:
		return nil
	case k < kinds:
		return bodies[k]()
	}
	return &unknown{k}
}

// The kinds of the bodies.

func (*Hit) Kind() Kind              { return KindHit }
func (*Stopped) Kind() Kind          { return KindStopped }
func (*Signal) Kind() Kind           { return KindSignal }
func (*Fork) Kind() Kind             { return KindFork }
func (*Clone) Kind() Kind            { return KindClone }
func (*Exec) Kind() Kind             { return KindExec }
func (*Library) Kind() Kind          { return KindLibrary }
func (*Unload) Kind() Kind           { return KindUnload }
func (*Exit) Kind() Kind             { return KindExit }
func (*Dropped) Kind() Kind          { return KindDropped }
func (*Warning) Kind() Kind          { return KindWarning }
func (*Print) Kind() Kind            { return KindPrint }
func (*Released) Kind() Kind         { return KindReleased }
func (*Reattached) Kind() Kind       { return KindReattached }
func (*ControlRequested) Kind() Kind { return KindControlRequested }
func (*Failed) Kind() Kind           { return KindFailed }
func (u *unknown) Kind() Kind        { return u.kind }

func (*Hit) body()              {}
func (*Stopped) body()          {}
func (*Signal) body()           {}
func (*Fork) body()             {}
func (*Clone) body()            {}
func (*Exec) body()             {}
func (*Library) body()          {}
func (*Unload) body()           {}
func (*Exit) body()             {}
func (*Dropped) body()          {}
func (*Warning) body()          {}
func (*Print) body()            {}
func (*Released) body()         {}
func (*Reattached) body()       {}
func (*ControlRequested) body() {}
func (*Failed) body()           {}
func (*unknown) body()          {}
