// Package media breaks what is in a stream while it comes in: pictures, sound, time. What a viewer gets is measured, from the ingest's
// own output, by taking the stream apart.
package media

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/unit"
)

// tamper is what all faults of media have in common: an ingest that is told what to do to its streams, and one stream that is watched.
type tamper struct {
	Channel string `json:"channel" help:"stream that the effect is measured on; all streams of the ingest are hit"`
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

func ask(ctx context.Context, on target.Component, method string, in, out any) error {
	if on.Socket == "" || on.Kind != "ingest" {
		return errors.New("it is no ingest of the bundled platform")
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://unix/tamper?at=%d", time.Now().UnixNano()), bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := record.Client(on.Socket).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ingest: %s", resp.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// Check is part of injectors.Fault: the stream must be there, or nothing could be proven.
func (f *tamper) Check(ctx context.Context, on target.Component) error {
	var now target.Tampering
	if err := ask(ctx, on, http.MethodGet, nil, &now); err != nil {
		return err
	}
	if now != (target.Tampering{}) {
		return errors.New("another fault has its streams in its hands already")
	}
	w, err := f.watch(ctx, on, 500*time.Millisecond)
	if err == nil && w.video == 0 {
		err = fmt.Errorf("no picture of %s comes in here: name a stream that does", f.Channel)
	}
	return err
}

// Save is part of injectors.Fault.
func (f *tamper) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	var was target.Tampering
	if err := ask(ctx, on, http.MethodGet, nil, &was); err != nil {
		return nil, err
	}
	return injectors.Keep(was)
}

// Restore is part of injectors.Fault.
func (f *tamper) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	var before target.Tampering
	if err := was.Read(&before); err != nil {
		return err
	}
	return ask(ctx, on, http.MethodPut, before, nil)
}

// seen is what a viewer at the ingest got in a time.
type seen struct {
	video, keys, audio int
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
		switch {
		case t.IsFrame():
			if s.video++; s.video == 1 {
				first, firstAt = t.Timestamp, now
			}
			last, lastAt = t.Timestamp, now
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
	Sort string        `json:"-"` // stall, no-key-frames, no-audio, drift or skew
	By   unit.Duration `json:"by" help:"of skew: how much; of a drift: in each second"`
}

// sorts say what is done to a stream, and what a viewer then sees of it.
var sorts = map[string]struct {
	do   func(by time.Duration) target.Tampering
	name string // of what is measured
	ask  func(by time.Duration) float64
	is   func(seen) float64
	hurt func(is, asked float64) bool
	well func(is, asked float64) bool
	over time.Duration
}{
	"stall": {do: func(time.Duration) target.Tampering { return target.Tampering{Stall: true} },
		name: "frames_per_second", ask: func(time.Duration) float64 { return 0 }, is: func(s seen) float64 { return float64(s.video) / s.took.Seconds() },
		hurt: func(is, _ float64) bool { return is == 0 }, well: func(is, _ float64) bool { return is > 1 }, over: time.Second},
	"no-key-frames": {do: func(time.Duration) target.Tampering { return target.Tampering{NoKeyFrames: true} },
		name: "key_frames", ask: func(time.Duration) float64 { return 0 }, is: func(s seen) float64 { return float64(s.keys) },
		hurt: func(is, _ float64) bool { return is == 0 }, well: func(is, _ float64) bool { return is > 0 }, over: 2500 * time.Millisecond},
	"no-audio": {do: func(time.Duration) target.Tampering { return target.Tampering{NoAudio: true} },
		name: "sounds_per_second", ask: func(time.Duration) float64 { return 0 }, is: func(s seen) float64 { return float64(s.audio) / s.took.Seconds() },
		hurt: func(is, _ float64) bool { return is == 0 }, well: func(is, _ float64) bool { return is > 1 }, over: time.Second},
	"drift": {do: func(by time.Duration) target.Tampering { return target.Tampering{Drift: by.Seconds()} },
		name: "seconds_ahead_per_second", ask: time.Duration.Seconds, is: func(s seen) float64 { return s.late / 1000 / s.took.Seconds() },
		hurt: near, well: small, over: 2 * time.Second},
	"skew": {do: func(by time.Duration) target.Tampering { return target.Tampering{Skew: by} },
		name: "audio_late_seconds", ask: time.Duration.Seconds, is: func(s seen) float64 { return s.skew / 1000 },
		hurt: near, well: small, over: time.Second},
}

func near(is, asked float64) bool  { return math.Abs(is-asked) < asked/3 }
func small(is, asked float64) bool { return math.Abs(is) < asked/3 }

// Validate finds settings that cannot work.
func (f *Stream) Validate() error {
	err := f.tamper.Validate()
	if _, ok := sorts[f.Sort]; !ok {
		err = errors.Join(err, fmt.Errorf("sort: %q is not stall, no-key-frames, no-audio, drift or skew", f.Sort))
	}
	if d := time.Duration(f.By); (f.Sort == "drift" || f.Sort == "skew") && (d < 200*time.Millisecond || d > 10*time.Second) {
		err = errors.Join(err, fmt.Errorf("by: %s is not between 200ms and 10s", f.By))
	}
	return err
}

// Inject is part of injectors.Fault. An order that failed may have arrived all the same: it is taken back.
func (f *Stream) Inject(ctx context.Context, on target.Component) error {
	err := ask(ctx, on, http.MethodPut, sorts[f.Sort].do(time.Duration(f.By)), nil)
	if err != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		err = errors.Join(err, ask(back, on, http.MethodPut, target.Tampering{}, nil))
	}
	return err
}

// Effect plays the stream, and looks at what the fault is about.
func (f *Stream) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	sort := sorts[f.Sort]
	s, err := f.watch(ctx, on, sort.over)
	if err != nil {
		return injectors.Measured{}, err
	}
	asked, is := sort.ask(time.Duration(f.By)), sort.is(s)
	return injectors.Measured{N: uint64(max(s.video+s.audio, 1)), Asked: map[string]float64{sort.name: asked},
		Is: map[string]float64{sort.name: is, "frames": float64(s.video), "sounds": float64(s.audio)}, Bites: sort.hurt(is, asked), Clean: sort.well(is, asked),
		Reason: fmt.Sprintf("%s is %.3g, asked was %.3g", sort.name, is, asked)}, nil
}

func kind(name, summary, sort string, by time.Duration) injectors.Kind {
	return injectors.Kind{Name: name, Summary: summary, BackEnds: []string{"ingest"}, On: "ingest", Takes: "streams",
		Default: func() injectors.Fault {
			return &Stream{tamper: tamper{Channel: "streamers-0"}, Sort: sort, By: unit.Duration(by)}
		}}
}

// Kinds lists the faults of media.
var Kinds = []injectors.Kind{
	kind("media.stall", "publishers send nothing more, and stay connected", "stall", 0),
	kind("media.no-key-frames", "key frames are lost: who comes new gets no picture", "no-key-frames", 0),
	kind("media.no-audio", "the sound is gone", "no-audio", 0),
	kind("media.drift", "the publisher's clock runs ahead", "drift", 500*time.Millisecond),
	kind("media.skew", "sound and picture are apart", "skew", time.Second),
}
