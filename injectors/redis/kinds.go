package redis

import "github.com/livedrill/livedrill/injectors"

// Kinds lists the faults of Redis servers.
var Kinds = []injectors.Kind{
	{Name: "redis.oom", Summary: "Redis is full and refuses writes", BackEnds: []string{"maxmemory"},
		On: "redis", Takes: "memory, writes", Default: func() injectors.Fault { return &OOM{Ballast: 8} }},
	{Name: "redis.subscribers", Summary: "subscribers that do not read fill Redis' memory", BackEnds: []string{"SUBSCRIBE"},
		On: "redis", Takes: "memory", Default: func() injectors.Fault { return &Subscribers{Clients: 8, Each: 8} }},
	{Name: "redis.snapshot", Summary: "snapshots fail, and Redis refuses writes (MISCONF)", BackEnds: []string{"BGSAVE"},
		On: "redis", Takes: "writes, clients, processes, disk", Default: func() injectors.Fault { return &Snapshot{} }},
	{Name: "redis.fork", Summary: "snapshots fork while all is written anew: memory is needed twice", BackEnds: []string{"BGSAVE"},
		On: "redis", Takes: "memory, processes, disk", Default: func() injectors.Fault { return &Fork{Ballast: 16} }},
	{Name: "redis.stale-replica", Summary: "Redis is the replica of a master that is gone: old values, no writes", BackEnds: []string{"REPLICAOF"},
		On: "redis", Takes: "writes, clients", Default: func() injectors.Fault { return &Replica{Serve: true} }},
	{Name: "redis.pause", Summary: "Redis is frozen, over and over", BackEnds: []string{"CLIENT PAUSE"},
		On: "redis", Takes: "time", Default: func() injectors.Fault { return &Pause{} }},
	{Name: "redis.connections", Summary: "Redis lets no new client in", BackEnds: []string{"maxclients"},
		On: "redis", Takes: "clients", Default: func() injectors.Fault { return &Connections{} }},
	{Name: "redis.hot-key", Summary: "everybody asks for one large value", BackEnds: []string{"GET"},
		On: "redis", Takes: "one key, writes", Default: func() injectors.Fault { return &HotKey{Size: 100 << 10, Clients: 20} }},
	{Name: "redis.flush", Summary: "every key is gone at once", BackEnds: []string{"UNLINK"},
		On: "redis", Takes: "keys, writes", Default: func() injectors.Fault { return &Flush{Match: "*"} }},
}
