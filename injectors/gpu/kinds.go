package gpu

import (
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target/unit"
)

// Kinds lists the faults of what encodes video.
var Kinds = []injectors.Kind{
	{Name: "gpu.throttle", Summary: "the encoders lose speed, as on a card that has grown too hot", BackEnds: []string{"nvml", "emulated"},
		On: "transcode", Takes: "encoders, processes", Default: func() injectors.Fault {
			return &Throttle{To: 0.4, Over: unit.Duration(200 * time.Millisecond), braked: braked{By: byPower}}
		}},
	{Name: "gpu.overheat", Summary: "the card grows too hot, over and over: its clocks come and go", BackEnds: []string{"nvml", "emulated"},
		On: "transcode", Takes: "encoders, processes", Default: func() injectors.Fault {
			return &Overheat{Load: 95, Limit: 83, To: 0.4, Over: unit.Duration(2 * time.Second), braked: braked{By: byPower}}
		}},
	{Name: "gpu.contention", Summary: "others encode on the same card", BackEnds: []string{"nvenc", "emulated"},
		On: "transcode", Takes: "encoders, processes", Default: func() injectors.Fault { return &Contention{Encoders: 2} }},
	{Name: "gpu.session-limit", Summary: "the driver opens only so many encoders at once", BackEnds: []string{"emulated"},
		On: "transcode", Takes: "encoders, sessions, processes", Default: func() injectors.Fault { return &SessionLimit{Most: 1} }},
	{Name: "gpu.lost", Summary: "the card is gone: encoders die, and die again when they are started", BackEnds: []string{"emulated"},
		On: "transcode", Takes: "encoders, sessions, processes", Default: func() injectors.Fault { return &Lost{} }},
}
