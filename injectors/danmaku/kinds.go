package danmaku

import (
	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target/unit"
)

func many(rate unit.Rate) clients.Repeated { return clients.Repeated{Rate: rate, Clients: 20} }

// Kinds lists the faults of bullet chat.
var Kinds = []injectors.Kind{
	{Name: "danmaku.slow-readers", Summary: "members who do not read fill the server's queues", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &SlowReaders{Members: 50, Room: "room-0"} }},
	{Name: "danmaku.hot-room", Summary: "one room gets far more messages than all others", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &Talk{Repeated: many(200), Sort: "hot-room", Room: "room-0"} }},
	{Name: "danmaku.storm", Summary: "the same message again and again", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &Talk{Repeated: many(100), Sort: "storm", Room: "room-0"} }},
	{Name: "danmaku.oversize", Summary: "messages far too large", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &Talk{Repeated: many(20), Sort: "oversize", Room: "room-0"} }},
	{Name: "danmaku.stampede", Summary: "members come and go all at once", BackEnds: []string{"clients"},
		On: "danmaku", Takes: "attackers", Default: func() injectors.Fault { return &Stampede{Repeated: many(100), Room: "room-0"} }},
}
