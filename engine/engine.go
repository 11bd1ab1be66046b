// Package engine traces running programs: a Session puts probes into them and
// tells what happens.
//
//	s, err := engine.Attach(pid)            // or engine.Start(engine.Command{...})
//	p, err := s.Register(engine.ProbeSpec{Location: "libc:malloc"})
//	...
//	fmt.Println(s.Hits(p))
//	s.Detach()
//
// A session is one locked OS thread that owns the ptrace attachment; requests
// are queued to it and a doorbell wakes it, stops are decided on it, and no
// ptrace request ever leaves it. Several sessions may live in one program, and
// the program's own children are not touched. All methods of a Session may be
// called from any goroutine; but a ProbeSpec's Func runs on the session's
// thread and may use only the Hit it is given.
//
// Importing it needs no privilege by itself; attaching follows the rules of
// ptrace(2), and Diagnose says which of them is in the way.
package engine

// Attach traces a running process. It neither stops nor notices. A child of the
// calling process is not to be waited for meanwhile, as exec.Cmd.Wait does: the
// kernel tells that wait of the stops, too, and each is told once (ErrWaited).
func Attach(pid int, opts ...Options) (Session, error) {
	if err := refuse(pid); err != nil {
		return nil, err
	}
	s, err := newSession(opts)
	if err != nil {
		return nil, err
	}
	if err := s.AddProcess(pid); err != nil {
		s.Detach()
		return nil, err
	}
	return s, nil
}

// Start runs a program stopped before its first instruction; Resume(pid)
// lets it go once the probes are registered.
func Start(cmd Command, opts ...Options) (Session, error) {
	s, err := newSession(opts)
	if err != nil {
		return nil, err
	}
	if err := s.start(cmd); err != nil {
		s.Detach()
		return nil, err
	}
	return s, nil
}
