// Package resource takes away what a component lives on: processor, memory, disk.
package resource

import (
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target/unit"
)

// Kinds lists the faults of resources.
var Kinds = []injectors.Kind{
	{Name: "resource.cpu", Summary: "a component has too few cores", BackEnds: []string{"cgroup", "duty-cycle"},
		Takes: "quota, processes", Default: func() injectors.Fault { return &CPU{Cores: 0.2} }},
	{Name: "resource.cpu-burn", Summary: "neighbours on its host compute without end", BackEnds: []string{"neighbour"},
		Takes: "host", Default: func() injectors.Fault { return &Burn{Processes: 2} }},
	{Name: "resource.memory", Summary: "a neighbour on its host holds memory", BackEnds: []string{"neighbour"},
		Takes: "host, memory", Default: func() injectors.Fault { return &Memory{Size: 256} }},
	{Name: "resource.oom", Summary: "a component has too little memory, and the kernel kills it", BackEnds: []string{"cgroup"},
		Takes: "memory", Default: func() injectors.Fault { return &OOM{} }},
	{Name: "resource.pids", Summary: "a component may start no more processes and threads", BackEnds: []string{"cgroup"},
		Takes: "processes", Default: func() injectors.Fault { return &PIDs{} }},
	{Name: "resource.disk-full", Summary: "the disk with a component's data is full", BackEnds: []string{"fallocate"},
		Takes: "disk", Default: func() injectors.Fault { return &DiskFull{} }},
	{Name: "resource.disk-slow", Summary: "reads, writes and syncs of a component's disk take longer", BackEnds: []string{"fuse"},
		Takes: "disk", Drive: true, Default: func() injectors.Fault { return &DiskSlow{By: unit.Duration(50 * time.Millisecond)} }},
	{Name: "resource.disk-errors", Summary: "a share of the reads, writes and syncs of a component's disk fails", BackEnds: []string{"fuse"},
		Takes: "disk", Drive: true, Default: func() injectors.Fault { return &DiskErrors{Share: 0.1, Of: "writes"} }},
}
