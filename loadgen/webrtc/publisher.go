package webrtc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/media"
	"github.com/livedrill/livedrill/loadgen/rtmp"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/rtc"
)

// publishers are all of one worker.
type publishers struct {
	*Load
	on                target.Platform
	m                 *loadgen.Meter
	clip              *media.Clip
	sound             media.Sound
	peers             *rtc.Peers
	client            *http.Client
	gate              chan struct{} // publishers who are connecting now
	accepted, refused prometheus.Counter
	begun, dropped    prometheus.Counter
	askedForKey       prometheus.Counter
	waited            *record.Histogram
}

// atOnce is how many publishers connect at once: each handshake costs both sides some milliseconds of a processor, and one that takes too long
// has to be made anew.
const atOnce = 8

// publish keeps every stream of this worker up until the load's plan or ctx ends.
func (l *Load) publish(ctx context.Context, on target.Platform, m *loadgen.Meter, clip *media.Clip, sound media.Sound, peers *rtc.Peers) {
	p := &publishers{Load: l, on: on, m: m, clip: clip, sound: sound, peers: peers, gate: make(chan struct{}, atOnce), client: &http.Client{CheckRedirect: loadgen.Stay, Transport: &http.Transport{MaxIdleConnsPerHost: 4}},
		accepted:    m.Counter("livedrill_publish_total", "Publish attempts by the server's answer.", m.Labels("result", "accepted")),
		refused:     m.Counter("livedrill_publish_total", "Publish attempts by the server's answer.", m.Labels("result", "refused")),
		begun:       m.Counter("livedrill_sessions_begun_total", "Sessions that began.", m.Labels("role", "publisher")),
		dropped:     m.Counter("livedrill_sessions_dropped_total", "Sessions ended by anything but their own plan.", m.Labels("role", "publisher")),
		waited:      m.Histogram("livedrill_publish_wait_seconds", "Time that a publisher waited for its turn to connect.", m.Labels()),
		askedForKey: m.Counter("livedrill_rtc_key_requests_total", "Times a server asked a publisher for a key frame.", m.Labels())}
	defer p.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range l.Publishers {
		if m.Slice.Mine(i, l.Publishers) {
			wg.Go(func() { p.stay(ctx, i) })
		}
	}
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
	pc, err := p.peers.New()
	if err != nil {
		return err
	}
	hangUp := func() { rtc.HangUp(pc) }
	var listening sync.WaitGroup
	defer func() { hangUp(); listening.Wait() }()
	picture, err := p.track(pc, rtc.NewPicture, &listening)
	var sound *rtc.Track
	if err == nil && len(p.sound) > 0 {
		sound, err = p.track(pc, rtc.NewSound, &listening)
	}
	if err != nil {
		return err
	}
	url, err := p.address(ctx, i)
	if err == nil {
		if !p.enter(ctx) {
			return nil
		}
		hangUp, err = rtc.Offer(ctx, p.client, url, pc)
		<-p.gate
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		p.refused.Inc()
		return err
	}
	p.accepted.Inc()
	p.begun.Inc()
	if err := p.send(ctx, pc, picture, sound); err != nil && ctx.Err() == nil {
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

// track adds a track to a connection, and listens to what the server says of it until the connection ends.
func (p *publishers) track(pc *webrtc.PeerConnection, newTrack func() (*rtc.Track, error), listening *sync.WaitGroup) (*rtc.Track, error) {
	track, err := newTrack()
	if err != nil {
		return nil, err
	}
	sender, err := pc.AddTrack(track)
	if err == nil {
		listening.Go(func() { p.listen(sender) })
	}
	return track, err
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

// listen hears what the server says of the stream. The film has a key frame every second: a request for one needs no other answer.
func (p *publishers) listen(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			if rtc.AsksForKey(packet) {
				p.askedForKey.Inc()
			}
		}
	}
}

// send plays the film in real time, and sound with it where there is some. What is to be heard between two frames goes out with the second
// one. A frame's lateness is its send time after its time stamp's moment.
func (p *publishers) send(ctx context.Context, pc *webrtc.PeerConnection, picture, sound *rtc.Track) error {
	var annexB rtc.AnnexB
	for _, t := range p.clip.Config {
		if t.IsVideoHeader() {
			if err := annexB.Configure(t); err != nil {
				return err
			}
		}
	}
	start := time.Now()
	heard := 0 // packets of sound
	for n := 0; ; n++ {
		t := p.clip.At(n)
		if !t.IsFrame() {
			continue
		}
		at := time.Duration(t.Timestamp) * time.Millisecond
		due := start.Add(at)
		if due.After(p.m.End()) || !target.Wait(ctx, time.Until(due)) {
			return nil
		}
		if state := pc.ConnectionState(); state != webrtc.PeerConnectionStateConnected {
			return errors.New(state.String())
		}
		for sound != nil {
			moment := time.Duration(heard) * media.SoundPacket
			if moment > at {
				break
			}
			if err := sound.Write(p.sound.At(heard), moment); err != nil {
				return err
			}
			heard++
		}
		now := time.Now()
		p.m.Late.Observe(now.Sub(due).Seconds())
		unit, err := annexB.Frame(media.Stamped(t, now))
		if err != nil {
			return err
		}
		if err := picture.Write(unit, at); err != nil {
			return err
		}
	}
}
