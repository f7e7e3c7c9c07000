// Package rtmp publishes streams as encoders do: real media from the synthetic camera, in real time, every frame of picture
// and sound stamped with its send time. Each publish is proven by a probe viewer who waits for its first picture at an edge. Viewers play streams at the edges.
package rtmp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/audience"
	"github.com/livedrill/livedrill/loadgen/flv"
	"github.com/livedrill/livedrill/loadgen/media"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/rtmp"
	"github.com/livedrill/livedrill/target/unit"
)

// Load is a number of publishers that stay, newcomers that publish for a short time, and viewers.
type Load struct {
	Publishers int           `json:"publishers" help:"streams that are published all the time"`
	Newcomers  loadgen.Shape `json:"newcomers" help:"arrivals of publishers that stay only for a while"`
	Stay       unit.Duration `json:"stay" help:"how long a newcomer publishes, or a viewer watches on the average"`
	Bitrate    unit.Bitrate  `json:"bitrate" help:"video bit rate of a stream"`
	FPS        int           `json:"fps" help:"frames per second"`
	Width      int           `json:"width" help:"picture width"`
	Height     int           `json:"height" help:"picture height"`
	Viewers    int           `json:"viewers" help:"viewers by RTMP at once"`
	Channels   string        `json:"channels" help:"load whose streams they watch"`
	Streams    int           `json:"streams" help:"number of that load's streams"`
	Stall      unit.Duration `json:"stall" help:"shortest gap that counts as a stall"`
	Gap        unit.Duration `json:"gap" help:"longest step from one picture's time stamp to the next that is no gap"`
	Patience   unit.Duration `json:"patience" help:"time without a picture after which a viewer leaves"`
	URL        string        `json:"url" help:"rtmp://HOST/APP on loopback: a server of one's own; each publisher has a stream of its own there (with /STREAM behind it: STREAM, STREAM-1, ...), and no probe; empty: the platform"`
}

// Default is one publisher of a small picture, and nobody who watches.
func Default() loadgen.Generator {
	usual := audience.Usual()
	return &Load{Publishers: 1, Stay: unit.Duration(4 * time.Second), Bitrate: 800e3, FPS: 25, Width: 640, Height: 360,
		Channels: "rtmp", Streams: 1, Stall: usual.Stall, Gap: usual.Gap, Patience: usual.Patience}
}

// Validate finds settings that cannot work.
func (l *Load) Validate() error {
	var errs []error
	if l.Publishers < 0 || l.Publishers > 10_000 {
		errs = append(errs, fmt.Errorf("publishers: %d is not between 0 and 10000", l.Publishers))
	}
	if !l.Newcomers.IsZero() {
		errs = append(errs, l.Newcomers.Validate())
	} else if l.Publishers == 0 && l.Viewers == 0 {
		errs = append(errs, errors.New("publishers: nobody publishes and nobody watches: give publishers, newcomers or viewers"))
	}
	if l.Viewers != 0 {
		errs = append(errs, l.audience().Check("rtmp"))
	}
	errs = append(errs, l.Format().Check())
	if l.URL != "" {
		errs = append(errs, loadgen.CheckURL(l.URL, "rtmp"))
	}
	if l.URL != "" && l.Viewers > 0 {
		errs = append(errs, errors.New("url: only publishers go to a server of one's own: leave viewers out"))
	}
	return errors.Join(errs...)
}

// Prepare makes the film before the run, so that ffmpeg's work for it is not part of the run.
func (l *Load) Prepare(ctx context.Context, cache string) error {
	_, err := media.Load(ctx, cache, l.Format())
	return err
}

// Format is what the camera sends.
func (l *Load) Format() media.Format {
	return media.Format{Width: l.Width, Height: l.Height, FPS: l.FPS, Bitrate: l.Bitrate}
}

// timeout bounds connecting to a server, and every single read and write after that.
const timeout = 5 * time.Second

type run struct {
	*Load
	on       target.Platform
	m        *loadgen.Meter
	clip     *media.Clip
	client   *http.Client
	accepted map[string]prometheus.Counter
	begun    prometheus.Counter
	dropped  prometheus.Counter
	probes   *flv.Probes
	studio   *media.Studio
	wg       sync.WaitGroup
}

// Run is part of loadgen.Generator.
func (l *Load) Run(ctx context.Context, on target.Platform, m *loadgen.Meter) error {
	clip, err := media.Load(ctx, m.Cache, l.Format())
	if err != nil {
		return err
	}
	r := &run{Load: l, on: on, m: m, clip: clip, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}},
		accepted: map[string]prometheus.Counter{}, probes: flv.NewProbes(on, m),
		begun:   m.Counter("livedrill_sessions_begun_total", "Sessions that began.", m.Labels("role", "publisher")),
		dropped: m.Counter("livedrill_sessions_dropped_total", "Sessions ended by anything but their own plan.", m.Labels("role", "publisher")),
	}
	defer r.client.CloseIdleConnections()
	for _, result := range []string{"accepted", "refused"} {
		r.accepted[result] = m.Counter("livedrill_publish_total", "Publish attempts by the server's answer.", m.Labels("result", result))
	}
	streams := float64(l.Publishers)
	if !l.Newcomers.IsZero() {
		streams += l.Newcomers.Curve().Peak() * time.Duration(l.Stay).Seconds()
	}
	if r.studio, err = media.NewStudio(ctx, streams, l.Format()); err != nil {
		return err
	}
	if l.Viewers > 0 {
		r.wg.Go(func() { err = l.audience().Fill(ctx, on, m, "rtmp", watch) })
	}
	for i := range l.Publishers {
		if m.Slice.Mine(i, l.Publishers) {
			r.wg.Go(func() { r.stay(ctx, i) })
		}
	}
	if !l.Newcomers.IsZero() {
		m.Arrivals(ctx, l.Newcomers, func(n uint64, due time.Time) bool {
			const cycle = 100 // newcomers are cut over the regions in turns of this many
			if !m.Slice.Mine(int(n*37%cycle), cycle) {
				return false
			}
			r.wg.Go(func() {
				until := due.Add(time.Duration(l.Stay))
				if until.After(m.End()) {
					until = m.End()
				}
				if err := r.publish(ctx, fmt.Sprintf("%s-new-%d", m.Name, n), until); err != nil {
					m.Failed.Count(err)
				}
			})
			return true
		})
	}
	r.wg.Wait()
	r.probes.Close()
	return errors.Join(err, r.studio.Close())
}

// ChannelName is the channel of publisher i of a load.
func ChannelName(load string, i int) string { return fmt.Sprintf("%s-%d", load, i) }

// stay publishes one channel all the time, and again after it was cut off.
func (r *run) stay(ctx context.Context, i int) {
	// Publishers begin at different moments, as people do; all within a second.
	if !target.Wait(ctx, time.Duration(i%10)*100*time.Millisecond) {
		return
	}
	for ctx.Err() == nil && time.Now().Before(r.m.End()) {
		r.m.Offered.Inc()
		r.m.Achieved.Inc()
		err := r.publish(ctx, ChannelName(r.m.Name, i), r.m.End())
		if err == nil {
			return // the plan is over
		}
		r.m.Failed.Count(err)
		target.Wait(ctx, time.Second)
	}
}

// publish sends one stream until its time is over. An error is what the publisher would complain about.
func (r *run) publish(ctx context.Context, channel string, until time.Time) error {
	refused := func() {}
	if r.URL == "" {
		refused = r.probes.Prove(ctx, channel)
	}
	conn, err := r.connect(ctx, channel)
	if ctx.Err() != nil {
		if err == nil {
			_ = conn.Close() // nothing was sent
		}
		return nil
	}
	if err != nil {
		refused()
		r.accepted["refused"].Inc()
		return err
	}
	r.accepted["accepted"].Inc()
	r.begun.Inc()
	if err := r.send(conn, until); err != nil && ctx.Err() == nil {
		r.dropped.Inc()
		return err
	}
	return nil
}

func (r *run) connect(ctx context.Context, channel string) (*rtmp.Conn, error) {
	if r.URL != "" {
		u, err := url.Parse(r.URL)
		if err != nil {
			return nil, err
		}
		addr := u.Host
		if u.Port() == "" {
			addr += ":1935"
		}
		app, stream := path.Split(strings.Trim(u.Path, "/"))
		if app == "" {
			return dial(ctx, addr, stream, channel)
		}
		if number := strings.TrimPrefix(channel, r.m.Name); number != "-0" { // the first publisher has the address as it stands
			stream += number
		}
		return dial(ctx, addr, strings.Trim(app, "/"), stream)
	}
	assigned, err := loadgen.Dispatch(ctx, r.client, r.on, r.m.Region)
	if err != nil {
		return nil, err
	}
	ingest, err := r.on.Find(assigned.Ingest)
	if err != nil {
		return nil, err
	}
	addr, err := ingest.HostPort("rtmp")
	if err != nil {
		return nil, err
	}
	return dial(ctx, addr, "live", r.on.Secrets.StreamKey(channel))
}

func dial(ctx context.Context, addr, app, key string) (*rtmp.Conn, error) {
	conn, err := rtmp.Dial(ctx, addr, app, timeout)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.Publish(key); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
