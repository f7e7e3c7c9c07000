// Package media breaks what is in a stream while it comes in: pictures, sound, time. What a viewer gets is measured, from the ingest's
// own output, by taking the stream apart.
package media

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
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

// seen is what a viewer at the ingest got in a time.
type seen struct {
	video, keys, audio int
	foreign            int     // pictures of another codec than H.264
	bits               float64 // of pictures and sound
	ahead              float64 // ms by which the first time stamp is ahead of this machine's clock; only differences say something
	late               float64 // ms by which time stamps run ahead of the clock, over the time that was watched
	skew               float64 // ms by which the last sound is later than the last picture
	took               time.Duration
}

// watch plays the stream for a time. A stream that is not there, or ends meanwhile, is an error.
func (f *tamper) watch(ctx context.Context, on target.Component, over time.Duration) (s seen, err error) {
	addr, err := on.HostPort("http")
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, over+2*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: clients.DialFrom(on)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/live/"+f.Channel+".flv", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("stream %s: %s", f.Channel, resp.Status)
	}
	// What the ingest keeps for newcomers comes at once, and says nothing of now: the first quarter of a second is not counted.
	begin := time.Now().Add(250 * time.Millisecond)
	stop := time.AfterFunc(time.Until(begin)+over, cancel)
	defer stop.Stop()
	var firstAt, lastAt time.Time
	var first, last, sound uint32
	for in := flv.NewReader(resp.Body); ; {
		t, err := in.Next()
		if err != nil {
			break // the time is over, or the stream is
		}
		if t.IsKey() { // the kept one too: with it a newcomer has a picture
			s.keys++
		}
		now := time.Now()
		if now.Before(begin) || t.IsVideoHeader() || t.IsAudioHeader() {
			continue
		}
		s.bits += 8 * float64(len(t.Data))
		switch {
		case t.IsFrame():
			if s.video++; s.video == 1 {
				first, firstAt = t.Timestamp, now
				s.ahead = float64(t.Timestamp) - float64(now.UnixMilli())
			}
			last, lastAt = t.Timestamp, now
		case t.IsVideo():
			s.foreign++
		case t.Type == flv.Audio:
			s.audio++
			sound = t.Timestamp
		}
	}
	if s.took = time.Since(begin); s.took < over/2 {
		return s, fmt.Errorf("stream %s ended while it was watched", f.Channel)
	}
	if s.video > 1 {
		s.late = float64(last) - float64(first) - float64(lastAt.Sub(firstAt).Milliseconds())
	}
	if s.audio > 0 && s.video > 0 {
		s.skew = float64(sound) - float64(last)
	}
	return s, nil
}

// Stream is a fault of media of one sort.
type Stream struct {
	tamper
	Sort string        `json:"-"` // one of sorts
	By   unit.Duration `json:"by" help:"of skew and jump: how much; of a drift: in each second"`
	To   unit.Bitrate  `json:"to" help:"of bitrate: what is left for pictures and sound"`
}

// sorts say what is done to a stream, and what a viewer then sees of it.
var sorts = map[string]struct {
	do   func(f *Stream) target.Tampering
	name string                  // of what is measured
	ask  func(f *Stream) float64 // nil: nothing of it is to be left
	is   func(now, before seen) float64
	hurt func(is, asked float64) bool
	well func(is, asked float64) bool
	over time.Duration
}{
	"stall": {do: func(*Stream) target.Tampering { return target.Tampering{Stall: true} },
		name: "frames_per_second", is: func(s, _ seen) float64 { return float64(s.video) / s.took.Seconds() }, hurt: none, well: some, over: time.Second},
	// Who comes new without one gets nothing at all: a stream that has stopped looks the same.
	"no-key-frames": {do: func(*Stream) target.Tampering { return target.Tampering{NoKeyFrames: true} },
		name: "key_frames", is: func(s, _ seen) float64 { return float64(s.keys) }, hurt: none, well: some, over: 2500 * time.Millisecond},
	"no-audio": {do: func(*Stream) target.Tampering { return target.Tampering{NoAudio: true} },
		name: "sounds_per_second", is: func(s, _ seen) float64 { return live(s, float64(s.audio)/s.took.Seconds()) }, hurt: none, well: some, over: time.Second},
	"codec-change": {do: func(*Stream) target.Tampering { return target.Tampering{Codec: true} },
		name: "h264_frames_per_second", is: func(s, _ seen) float64 { return live(s, float64(s.video)/s.took.Seconds()) }, hurt: none, well: some, over: time.Second},
	"bitrate": {do: func(f *Stream) target.Tampering { return target.Tampering{Bitrate: float64(f.To)} },
		name: "bits_per_second", ask: func(f *Stream) float64 { return float64(f.To) }, is: func(s, _ seen) float64 { return s.bits / s.took.Seconds() },
		hurt: func(is, asked float64) bool { return is > asked/10 && is < 1.3*asked }, well: func(is, asked float64) bool { return is > 1.3*asked }, over: 3 * time.Second},
	"drift": {do: func(f *Stream) target.Tampering { return target.Tampering{Drift: f.By.Seconds()} },
		name: "seconds_ahead_per_second", ask: seconds, is: func(s, _ seen) float64 { return s.late / 1000 / s.took.Seconds() },
		hurt: near, well: small, over: 2 * time.Second},
	"jump": {do: func(f *Stream) target.Tampering { return target.Tampering{Jump: time.Duration(f.By)} },
		name: "seconds_ahead", ask: seconds, is: func(s, before seen) float64 { return (s.ahead - before.ahead) / 1000 },
		// A publisher who came anew meanwhile has a zero of its own: any other difference than ours is none of ours.
		hurt: near, well: func(is, asked float64) bool { return !near(is, asked) }, over: time.Second},
	"skew": {do: func(f *Stream) target.Tampering { return target.Tampering{Skew: time.Duration(f.By)} },
		name: "audio_late_seconds", ask: seconds, is: func(s, _ seen) float64 { return s.skew / 1000 },
		hurt: near, well: small, over: time.Second},
}

func seconds(f *Stream) float64 { return f.By.Seconds() }

// live is a reading of a stream that has pictures, of whatever codec. Of one that has none it says nothing: that is neither the fault nor
// its end.
func live(s seen, reading float64) float64 {
	if s.video+s.foreign == 0 {
		return -1
	}
	return reading
}

func none(is, _ float64) bool      { return is == 0 }
func some(is, _ float64) bool      { return is > 0 }
func near(is, asked float64) bool  { return math.Abs(is-asked) < asked/3 }
func small(is, asked float64) bool { return math.Abs(is) < asked/3 }

// Validate finds settings that cannot work.
func (f *Stream) Validate() error {
	err := f.tamper.Validate()
	if _, ok := sorts[f.Sort]; !ok {
		err = errors.Join(err, fmt.Errorf("sort: %q is none", f.Sort))
	}
	if d := time.Duration(f.By); slices.Contains([]string{"drift", "skew", "jump"}, f.Sort) && (d < 200*time.Millisecond || d > 10*time.Second) {
		err = errors.Join(err, fmt.Errorf("by: %s is not between 200ms and 10s", f.By))
	}
	if f.Sort == "bitrate" && (f.To < 80_000 || f.To > 100e6) {
		err = errors.Join(err, fmt.Errorf("to: %s is not between 80k, which sound alone can need, and 100M", f.To))
	}
	return err
}

// Check is part of injectors.Fault.
func (f *Stream) Check(ctx context.Context, on target.Component) error {
	if err := f.tamper.Check(ctx, on); err != nil {
		return err
	}
	if f.before.audio == 0 && (f.Sort == "no-audio" || f.Sort == "skew") {
		return fmt.Errorf("%s has no sound", f.Channel)
	}
	if f.Sort != "bitrate" {
		return nil
	}
	s, err := f.watch(ctx, on, 2*time.Second) // over key frames and what lies between them
	if has := s.bits / s.took.Seconds(); err == nil && has < 2*float64(f.To) {
		err = fmt.Errorf("the stream has %s: a limit of %s would not be felt", unit.Bitrate(has), f.To)
	}
	return err
}

// Inject is part of injectors.Fault.
func (f *Stream) Inject(ctx context.Context, on target.Component) error {
	return injectors.Tell(ctx, on, "ingest", sorts[f.Sort].do(f))
}

// Effect plays the stream, and looks at what the fault is about.
func (f *Stream) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	sort := sorts[f.Sort]
	s, err := f.watch(ctx, on, sort.over)
	if err != nil {
		return injectors.Measured{}, err
	}
	asked, is := 0.0, sort.is(s, f.before)
	if sort.ask != nil {
		asked = sort.ask(f)
	}
	return injectors.Measured{N: uint64(max(s.video+s.foreign+s.audio, 1)), Asked: map[string]float64{sort.name: asked},
		Is: map[string]float64{sort.name: is, "frames": float64(s.video), "sounds": float64(s.audio)}, Bites: sort.hurt(is, asked), Clean: sort.well(is, asked),
		Reason: fmt.Sprintf("%s is %.3g, asked was %.3g", sort.name, is, asked)}, nil
}

func kind(sort, summary string, by time.Duration) injectors.Kind {
	return injectors.Kind{Name: "media." + sort, Summary: summary, BackEnds: []string{"ingest"}, On: "ingest", Takes: "streams",
		Default: func() injectors.Fault {
			return &Stream{tamper: tamper{Channel: "streamers-0"}, Sort: sort, By: unit.Duration(by), To: 200_000}
		}}
}

// Kinds lists the faults of media.
var Kinds = []injectors.Kind{
	kind("stall", "publishers send nothing more, and stay connected", 0),
	kind("bitrate", "publishers' lines are too narrow: they send sound, and give up pictures", 0),
	kind("no-key-frames", "key frames are lost: who comes new gets no picture", 0),
	kind("no-audio", "the sound is gone", 0),
	kind("codec-change", "pictures come in a codec that nobody plays", 0),
	kind("drift", "the publisher's clock runs ahead", 500*time.Millisecond),
	kind("jump", "time stamps jump ahead", 5*time.Second),
	kind("skew", "sound and picture are apart", time.Second),
	spoil("playlist-frozen", "HLS playlists stay as they are"),
	spoil("segment-missing", "some HLS segments are not found"),
	spoil("segment-corrupt", "some HLS segments have wrong bytes"),
}
