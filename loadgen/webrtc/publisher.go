package webrtc

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/flv"
	"github.com/livedrill/livedrill/loadgen/media"
	"github.com/livedrill/livedrill/loadgen/rtmp"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/rtc"
	"github.com/livedrill/livedrill/target/stamp"
)

// publishers are all of one worker.
type publishers struct {
	*Load
	on                target.Platform
	m                 *loadgen.Meter
	film              *media.Clip
	pictures          []picture
	sound             media.Sound
	studio            *media.Studio
	peers             *rtc.Peers
	client            *http.Client
	gate              chan struct{} // publishers who are connecting now
	accepted, refused prometheus.Counter
	begun, dropped    prometheus.Counter
	askedForKey       prometheus.Counter
	unsent            prometheus.Counter
	probes            *flv.Probes
	waited            *record.Histogram
}

// atOnce is how many publishers connect at once: each handshake costs both sides some milliseconds of a processor, and one that takes too long
// has to be made anew.
const atOnce = 8

// publish keeps every stream of this worker up until the load's plan or ctx ends.
func (l *Load) publish(ctx context.Context, on target.Platform, m *loadgen.Meter, film *media.Clip, sound media.Sound, peers *rtc.Peers) error {
	pictures, err := cut(film)
	if err != nil {
		return err
	}
	studio, err := media.NewStudio(ctx, float64(l.Publishers), l.format())
	if err != nil {
		return err
	}
	p := &publishers{probes: flv.NewProbes(on, m), Load: l, on: on, m: m, film: film, pictures: pictures, studio: studio, sound: sound, peers: peers, gate: make(chan struct{}, atOnce), client: &http.Client{CheckRedirect: loadgen.Stay, Transport: &http.Transport{MaxIdleConnsPerHost: 4}},
		accepted:    m.Counter("livedrill_publish_total", "Publish attempts by the server's answer.", m.Labels("result", "accepted")),
		refused:     m.Counter("livedrill_publish_total", "Publish attempts by the server's answer.", m.Labels("result", "refused")),
		begun:       m.Counter("livedrill_sessions_begun_total", "Sessions that began.", m.Labels("role", "publisher")),
		dropped:     m.Counter("livedrill_sessions_dropped_total", "Sessions ended by anything but their own plan.", m.Labels("role", "publisher")),
		waited:      m.Histogram("livedrill_publish_wait_seconds", "Time that a publisher waited for its turn to connect.", m.Labels()),
		askedForKey: m.Counter("livedrill_rtc_key_requests_total", "Times a server asked a publisher for a key frame.", m.Labels()),
		unsent:      m.Counter("livedrill_rtc_unsent_packets_total", "Packets for which a publisher's kernel had no room: they are lost.", m.Labels())}
	defer p.client.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range l.Publishers {
		if m.Slice.Mine(i, l.Publishers) {
			wg.Go(func() { p.stay(ctx, i) })
		}
	}
	wg.Wait()
	p.probes.Close()
	return studio.Close()
}

// stay publishes one channel all the time, and again after it was cut off.
func (p *publishers) stay(ctx context.Context, i int) {
	// Publishers begin at different moments, as people do; all within a second.
	due := p.m.Start.Add(time.Duration(i%20) * 50 * time.Millisecond)
	for target.Wait(ctx, time.Until(due)) && time.Now().Before(p.m.End()) {
		p.m.Offered.Inc()
		p.m.Carried(due, time.Now())
		err := p.stream(ctx, i)
		if err == nil {
			return // the plan is over
		}
		p.m.Failed.Count(err)
		due = time.Now().Add(time.Second)
	}
}

// stream publishes until the plan is over. An error is what the publisher would complain about.
func (p *publishers) stream(ctx context.Context, i int) error {
	sender, err := p.peers.NewSender(len(p.sound) > 0)
	if err != nil {
		return err
	}
	sender.AskedForKey = p.askedForKey.Inc // the film has a key frame every second: a request for one needs no other answer
	leave := sender.HangUp
	defer func() { leave() }()
	if !p.enter(ctx) {
		return nil
	}
	refused := func() {}
	if p.URL == "" {
		refused = p.probes.Prove(ctx, rtmp.ChannelName(p.m.Name, i))
	}
	url, err := p.address(ctx, i)
	if err == nil {
		leave, err = sender.Offer(ctx, p.client, url)
	}
	<-p.gate
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		refused()
		p.refused.Inc()
		return err
	}
	p.accepted.Inc()
	p.begun.Inc()
	if err := p.send(sender); err != nil && ctx.Err() == nil {
		p.dropped.Inc()
		return err
	}
	return nil
}

// enter waits at the gate, and is false when the plan ends before. The wait is no lateness of the load: a server that is slow to answer makes
// it, too.
func (p *publishers) enter(ctx context.Context) bool {
	came := time.Now()
	ctx, cancel := context.WithDeadline(ctx, p.m.End())
	defer cancel()
	select {
	case p.gate <- struct{}{}:
		p.waited.Observe(time.Since(came).Seconds())
		return true
	case <-ctx.Done():
		return false
	}
}

// address is where WHIP goes, as the platform's dispatch says. On a server of one's own each publisher beyond the first has an address of its own.
func (p *publishers) address(ctx context.Context, i int) (string, error) {
	switch {
	case p.URL != "" && i > 0:
		return fmt.Sprintf("%s-%d", p.URL, i), nil
	case p.URL != "":
		return p.URL, nil
	}
	assigned, err := loadgen.Dispatch(ctx, p.client, p.on, p.m.Region)
	if err != nil {
		return "", err
	}
	return loadgen.URL(p.on, assigned.Ingest, "http", "/whip/"+p.on.Secrets.StreamKey(rtmp.ChannelName(p.m.Name, i)))
}

// cut cuts the film into what packets carry: once for all publishers.
func cut(film *media.Clip) ([]picture, error) {
	var annexB rtc.AnnexB
	var out []picture
	for _, t := range film.Config {
		if t.IsVideoHeader() {
			if err := annexB.Configure(t); err != nil {
				return nil, err
			}
		}
	}
	for _, t := range film.Tags {
		if !t.IsFrame() {
			continue
		}
		unit, err := annexB.Frame(t)
		if err != nil {
			return nil, err
		}
		out = append(out, picture{time.Duration(t.Timestamp) * time.Millisecond, rtc.Cut(unit)})
	}
	return out, nil
}

// picture is a frame of the film.
type picture struct {
	at     time.Duration
	pieces [][]byte
}

// publisher is one stream: a scene of its camera's.
type publisher struct {
	*publishers
	sender *rtc.Sender
	start  time.Time
	n      int // of the next picture
	heard  int // packets of sound
	stamp  []byte
	done   chan error
}

// send plays the film in real time, and sound with it where there is some.
func (p *publishers) send(sender *rtc.Sender) error {
	s := &publisher{publishers: p, sender: sender, done: make(chan error, 1)}
	p.studio.Film(func(c *media.Camera) {
		s.start = time.Now()
		c.Begin(s, s.start.Add(s.moment(0)))
	})
	return <-s.done
}

// moment is when picture n is due, from the start.
func (p *publisher) moment(n int) time.Duration {
	return p.pictures[n%len(p.pictures)].at + time.Duration(n/len(p.pictures))*p.film.Length
}

// Cut is part of media.Scene.
func (p *publisher) Cut() { p.done <- nil }

// Shoot sends the next picture, with what is to be heard before it. Its lateness is its send time after its time stamp's moment.
func (p *publisher) Shoot(now time.Time) (again time.Time) {
	at := p.moment(p.n)
	due := p.start.Add(at)
	if due.After(p.m.End()) {
		p.Cut()
		return time.Time{}
	}
	p.m.Late.Observe(now.Sub(due).Seconds())
	if err := p.shoot(now, at); err != nil {
		p.done <- err
		return time.Time{}
	}
	p.n++
	return p.start.Add(p.moment(p.n))
}

func (p *publisher) shoot(now time.Time, at time.Duration) error {
	if err := p.sender.Ended(); err != nil {
		return err
	}
	for p.sender.HasSound() {
		moment := time.Duration(p.heard) * media.SoundPacket
		if moment > at {
			break
		}
		if err := p.sender.Sound(moment, p.sound.At(p.heard)); err != nil {
			return err
		}
		p.heard++
	}
	p.stamp = stamp.AppendNAL(p.stamp[:0], now) // a packet of its own (RFC 6184, 5.6), before the picture that it belongs to
	if err := p.sender.Picture(at, false, p.stamp); err != nil {
		return err
	}
	if err := p.sender.Picture(at, true, p.pictures[p.n%len(p.pictures)].pieces...); err != nil {
		return err
	}
	lost, err := p.sender.Send(now)
	p.unsent.Add(float64(lost))
	return err
}
