package server

import "github.com/ptracer/ptracer/engine/arbiter/wire"

// service is what clients call: each part has the calls of one subject.
type service struct {
	later
	joining
	tracing
	steering
	handling
	registry
}

// later answers calls that only newer clients make.
type later struct {
	wire.UnimplementedArbiterServer
}

type (
	joining  struct{ *Server } // joining, and lists of tracers (server.go)
	tracing  struct{ *Server } // processes and probes (tracing.go)
	steering struct{ *Server } // tasks and memory (steering.go)
	handling struct{ *Server } // handlers of tracers (handlers.go)
	registry struct{ *Server } // handlers by name (registry.go)
)
