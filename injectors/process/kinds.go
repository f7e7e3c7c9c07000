package process

import (
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target/unit"
)

// Kinds lists the faults of processes.
var Kinds = []injectors.Kind{
	{Name: "process.kill", Summary: "a component dies, and dies again whenever it is started", BackEnds: []string{"SIGKILL"},
		Takes: "processes", Default: func() injectors.Fault { return &Kill{} }},
	{Name: "process.pause", Summary: "a component stands still: connections stay open, nobody answers", BackEnds: []string{"SIGSTOP"},
		Takes: "processes", Default: func() injectors.Fault { return &Pause{} }},
	{Name: "process.restart-loop", Summary: "a component comes up and dies, again and again", BackEnds: []string{"SIGKILL"},
		Takes: "processes", Default: func() injectors.Fault { return &RestartLoop{Every: unit.Duration(2 * time.Second)} }},
	{Name: "process.slow-start", Summary: "a component dies, and what takes its place is slow to start", BackEnds: []string{"SIGKILL"},
		Takes: "processes", Default: func() injectors.Fault { return &SlowStart{By: unit.Duration(5 * time.Second)} }},
	{Name: "process.descriptors", Summary: "a component has no file descriptor left for new connections", BackEnds: []string{"rlimit"},
		Takes: "descriptors", Default: func() injectors.Fault { return &Descriptors{} }},
	{Name: "process.connection-hoard", Summary: "somebody opens connections to a component and keeps them", BackEnds: []string{"connections"},
		Takes: "connections, attackers", Default: func() injectors.Fault { return &Hoard{Connections: 500} }},
}
