package redis

import "github.com/livedrill/livedrill/injectors"

// Kinds lists the faults of Redis servers.
var Kinds = []injectors.Kind{
	{Name: "redis.oom", Summary: "Redis is full and refuses writes", BackEnds: []string{"maxmemory"},
		On: "redis", Takes: "memory", Default: func() injectors.Fault { return &OOM{Ballast: 8} }},
}
