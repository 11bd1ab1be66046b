package engine

import (
	"github.com/ptracer/ptracer/engine/api"
	"github.com/ptracer/ptracer/engine/internal/resident"
)

// The types of package api, which documents them.
type (
	Session       = api.Session
	Processes     = api.Processes
	Probes        = api.Probes
	Handlers      = api.Handlers
	Events        = api.Events
	Tasks         = api.Tasks
	Memory        = api.Memory
	Action        = api.Action
	Access        = api.Access
	ProbeSpec     = api.ProbeSpec
	Arg           = api.Arg
	AsideOptions  = api.AsideOptions
	Placement     = api.Placement
	Task          = api.Task
	Exit          = api.Exit
	Stats         = api.Stats
	Options       = api.Options
	Command       = api.Command
	HandlerSpec   = api.HandlerSpec
	Handler       = api.Handler
	SharedHandler = api.SharedHandler
	Shared        = api.Shared
	SharedOptions = api.SharedOptions
	HandlerInfo   = api.HandlerInfo
	Hit           = api.Hit
	Run           = api.Run
	Symbol        = api.Symbol

	Resident       = resident.Resident
	ResidentResult = resident.ResidentResult
)

// The actions and accesses of a ProbeSpec.
const (
	ActionCount     = api.ActionCount
	ActionTell      = api.ActionTell
	ActionStop      = api.ActionStop
	ActionCall      = api.ActionCall
	AccessExecute   = api.AccessExecute
	AccessWrite     = api.AccessWrite
	AccessReadWrite = api.AccessReadWrite
)
