// Package webrtc publishes by WHIP and watches by WHEP: real connections with ICE, DTLS and SRTP, real H.264 and Opus from the synthetic
// camera, every picture stamped with its send time.
package webrtc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/audience"
	"github.com/livedrill/livedrill/loadgen/media"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/rtc"
	"github.com/livedrill/livedrill/target/unit"
)

// Load is publishers, and an audience.
type Load struct {
	audience.Settings
	Publishers int          `json:"publishers" help:"streams that are published all the time"`
	Bitrate    unit.Bitrate `json:"bitrate" help:"video bit rate of a stream"`
	FPS        int          `json:"fps" help:"frames per second"`
	Width      int          `json:"width" help:"picture width"`
	Height     int          `json:"height" help:"picture height"`
	Sound      bool         `json:"sound" help:"publish sound too, as Opus"`
}

// Default is one publisher of a small picture, and nobody who watches.
func Default() loadgen.Generator {
	s := audience.Usual()
	s.Viewers, s.Channels = 0, "webrtc"
	return &Load{Settings: s, Publishers: 1, Bitrate: 500e3, FPS: 25, Width: 640, Height: 360, Sound: true}
}

// Validate finds settings that cannot work.
func (l *Load) Validate() error {
	errs := []error{l.format().Check()}
	if l.Viewers > 0 || !l.Newcomers.IsZero() {
		errs = append(errs, l.Check("http"))
	} else if l.URL != "" {
		errs = append(errs, loadgen.CheckURL(l.URL, "http"))
	}
	if l.Publishers < 0 || l.Publishers > 10_000 {
		errs = append(errs, fmt.Errorf("publishers: %d is not between 0 and 10000", l.Publishers))
	}
	if l.Publishers+l.Viewers == 0 && l.Newcomers.IsZero() {
		errs = append(errs, errors.New("publishers: nobody publishes and nobody watches"))
	}
	if l.URL != "" && l.Publishers > 0 && (l.Viewers > 0 || !l.Newcomers.IsZero()) {
		errs = append(errs, errors.New("url: it is where streams are published, or where they are watched: leave publishers or viewers out"))
	}
	return errors.Join(errs...)
}

func (l *Load) format() media.Format {
	return media.Format{Width: l.Width, Height: l.Height, FPS: l.FPS, Bitrate: l.Bitrate}
}

// Prepare makes the film before the run, so that ffmpeg's work for it is not part of the run.
func (l *Load) Prepare(ctx context.Context, cache string) error {
	_, _, err := l.film(ctx, cache)
	return err
}

// film is what is published.
func (l *Load) film(ctx context.Context, cache string) (*media.Clip, media.Sound, error) {
	clip, err := media.Load(ctx, cache, l.format())
	if err != nil || !l.Sound {
		return clip, nil, err
	}
	sound, err := media.LoadSound(ctx, cache)
	return clip, sound, err
}

// Run is part of loadgen.Generator.
func (l *Load) Run(ctx context.Context, on target.Platform, m *loadgen.Meter) error {
	clip, sound, err := l.film(ctx, m.Cache)
	if err != nil {
		return err
	}
	peers, err := rtc.NewPeers("", l.URL != "")
	if err != nil {
		return err
	}
	defer peers.Close()
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() { failed = l.publish(ctx, on, m, clip, sound, peers) })
	err = l.watch(ctx, on, m, peers)
	wg.Wait()
	return errors.Join(err, failed)
}
