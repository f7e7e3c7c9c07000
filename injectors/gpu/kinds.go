package gpu

import (
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target/unit"
)

// Kinds lists the faults of what encodes video.
var Kinds = []injectors.Kind{
	{Name: "gpu.throttle", Summary: "the encoders lose speed, as on a card that has grown too hot", BackEnds: []string{"nvml", "emulated"},
		On: "transcode", Takes: "encoders", Default: func() injectors.Fault {
			return &Throttle{To: 0.4, Over: unit.Duration(200 * time.Millisecond)}
		}},
	{Name: "gpu.lost", Summary: "the card is gone: encoders die, and die again when they are started", BackEnds: []string{"emulated"},
		On: "transcode", Takes: "encoders", Default: func() injectors.Fault { return &Lost{} }},
}
