package client

import (
	"fmt"

	"github.com/ptracer/ptracer/engine"
)

// more are requests that only some tests make of agents.
func more(a *agent, r request, b *answer) error {
	switch r.Op {
	case "tell":
		id, err := a.s.Register(engine.ProbeSpec{Location: r.Text, Action: engine.Tell, Strings: 1, Args: 1})
		b.N = uint64(id)
		return err
	}
	return fmt.Errorf("no request %q", r.Op)
}
