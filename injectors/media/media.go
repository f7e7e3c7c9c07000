// Package media breaks what is in a stream while it comes in: pictures, sound, time. What a viewer gets is measured, from the ingest's
// own output, by taking the stream apart.
package media

import (
	"context"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// tamper is what all faults of media have in common: an ingest that is told what to do to its streams, and one stream that is watched.
type tamper struct {
	Channel string `json:"channel" help:"stream that the effect is measured on; all streams of the ingest are hit"`

	before seen
}

// BackEnd is part of injectors.BackEnded.
func (*tamper) BackEnd() string { return "ingest" }

// Validate finds settings that cannot work.
func (f *tamper) Validate() error {
	if f.Channel == "" || len(f.Channel) > 64 {
		return fmt.Errorf("channel: %q is no name of a stream", f.Channel)
	}
	return nil
}

// Check is part of injectors.Fault: the stream must be there, or nothing could be proven.
func (f *tamper) Check(ctx context.Context, on target.Component) error {
	err := injectors.Untold[target.Tampering](ctx, on, "ingest")
	if err != nil {
		return err
	}
	f.before, err = f.watch(ctx, on, 500*time.Millisecond)
	if err == nil && f.before.video == 0 { // who comes now may have to wait for a key frame
		f.before, err = f.watch(ctx, on, 2*time.Second)
	}
	if err == nil && f.before.video == 0 {
		err = fmt.Errorf("no picture of %s comes in here: name a stream that does", f.Channel)
	}
	return err
}

// Save is part of injectors.Fault.
func (f *tamper) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return injectors.SaveTold[target.Tampering](ctx, on, "ingest")
}

// Restore is part of injectors.Fault.
func (f *tamper) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	return injectors.RestoreTold[target.Tampering](ctx, on, "ingest", was)
}

// kind is a fault of streams: its settings are of, with the stream that is watched.
func kind(sort, summary string, of func(Stream) injectors.Fault) injectors.Kind {
	return injectors.Kind{Name: "media." + sort, Summary: summary, BackEnds: []string{"ingest"}, On: "ingest", Takes: "streams, processes",
		Default: func() injectors.Fault { return of(Stream{tamper: tamper{Channel: "streamers-0"}, Sort: sort}) }}
}

func plain(s Stream) injectors.Fault { return &s }

func shifted(by time.Duration) func(Stream) injectors.Fault {
	return func(s Stream) injectors.Fault { return &Shift{s, unit.Duration(by)} }
}

// Kinds lists the faults of media.
var Kinds = []injectors.Kind{
	kind("stall", "publishers send nothing more, and stay connected", plain),
	kind("bitrate", "publishers' lines are too narrow: they send sound, and give up pictures", func(s Stream) injectors.Fault { return &Narrow{s, 200_000} }),
	kind("no-key-frames", "key frames are lost: who comes new gets no picture", func(s Stream) injectors.Fault { return &KeyLoss{tamper: s.tamper} }),
	kind("no-audio", "the sound is gone", plain),
	kind("codec-change", "pictures come in a codec that nobody plays", plain),
	kind("drift", "the publisher's clock runs ahead", shifted(500*time.Millisecond)),
	kind("jump", "time stamps jump ahead", shifted(5*time.Second)),
	kind("skew", "sound and picture are apart", shifted(time.Second)),
	spoil("playlist-frozen", "HLS playlists stay as they are"),
	spoil("segment-missing", "some HLS segments are not found"),
	spoil("segment-corrupt", "some HLS segments have wrong bytes"),
}
