package webrtc

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/audience"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/rtc"
)

// longest is the media time that one frame may stand for: more is a jump of the time stamps.
const longest = 5 * time.Second

// watch fills the house until the load's plan or ctx ends.
func (l *Load) watch(ctx context.Context, on target.Platform, m *loadgen.Meter, peers *rtc.Peers) error {
	lost := m.Counter("livedrill_rtc_lost_packets_total", "RTP packets that never came to a viewer.", m.Labels())
	heard := m.Counter("livedrill_rtc_sound_packets_total", "Packets of Opus by whether they came to a viewer.", m.Labels("result", "heard"))
	unheard := m.Counter("livedrill_rtc_sound_packets_total", "Packets of Opus by whether they came to a viewer.", m.Labels("result", "lost"))
	freezes := m.Counter("livedrill_rtc_freezes_total", "Gaps between frames of more than max(3δ, δ + 150 ms), δ the mean of the last 30 (W3C webrtc-stats, freezeCount).", m.Labels())
	frozen := m.Counter("livedrill_rtc_frozen_seconds_total", "Time in these gaps.", m.Labels())
	return l.Fill(ctx, on, m, "webrtc", func(*audience.House) audience.Watch {
		return func(ctx context.Context, s *audience.Session) error {
			v := &viewer{Session: s, peers: peers, lost: lost, heard: heard, unheard: unheard, freezes: freezes, frozen: frozen}
			v.last.Store(s.Began.UnixNano())
			return v.watch(ctx)
		}
	})
}

// viewer is one session.
type viewer struct {
	*audience.Session
	peers                 *rtc.Peers
	lost, freezes, frozen prometheus.Counter
	heard, unheard        prometheus.Counter
	last                  atomic.Int64 // when a frame came, Unix nanoseconds
}

// watch is part of the session: see audience.Watch. A connection that breaks, or brings nothing for some seconds, is made anew.
func (v *viewer) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		err := v.connect(ctx)
		quiet := time.Since(time.Unix(0, v.last.Load()))
		if ctx.Err() == nil && quiet > time.Duration(v.House.Patience) {
			return audience.Lost(err)
		}
		if err != nil {
			target.Wait(ctx, 250*time.Millisecond)
		}
	}
	return nil
}

// again is how long nothing may come before a viewer connects anew.
const again = 4 * time.Second

func (v *viewer) connect(ctx context.Context) error {
	address, err := v.address(ctx)
	if err != nil {
		return err
	}
	v.Reached(audience.Dispatched)
	pc, err := v.peers.New()
	if err != nil {
		return err
	}
	wait := rtc.OnTrack(pc, func(track *webrtc.TrackRemote) {
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			v.play(pc, track)
		} else {
			v.hear(track)
		}
	})
	hangUp := func() { rtc.HangUp(pc) }
	defer func() {
		hangUp()
		wait()
	}()
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			return err
		}
	}
	if hangUp, err = rtc.Offer(ctx, v.House.Client, address, pc); err != nil {
		return err
	}
	v.Reached(audience.Agreed)
	for begun := time.Now(); target.Wait(ctx, 250*time.Millisecond); {
		if state := pc.ConnectionState(); state != webrtc.PeerConnectionStateConnected {
			return errors.New(state.String())
		}
		if newest := time.Unix(0, v.last.Load()); time.Since(newest) > again && time.Since(begun) > again {
			return errors.New("nothing comes")
		}
	}
	return nil
}

// address is where WHEP goes, as the platform's dispatch says.
func (v *viewer) address(ctx context.Context) (string, error) {
	h := v.House
	if h.URL != "" {
		return h.URL, nil
	}
	a, err := loadgen.Dispatch(ctx, h.Client, h.On, h.M.Region)
	if err != nil {
		return "", err
	}
	return loadgen.URL(h.On, a.Edge, "http", "/whep/"+v.Channel)
}

// play takes the stream apart until the connection ends. Media count from the first key frame; after a loss a new one is asked for.
func (v *viewer) play(pc *webrtc.PeerConnection, track *webrtc.TrackRemote) {
	n, frames := v.House.N, rtc.NewFrames(0)
	v.Connected()
	begun, before, lost := false, uint32(0), uint64(0)
	gaps := &gaps{}
	arrived := time.Now() // when the packet before came: a frame is known to be whole only with the first packet of the next one
	for first := true; ; first = false {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if first {
			v.Reached(audience.Answered)
		}
		now := arrived
		arrived = time.Now()
		n.Received(len(p.Payload))
		frames.Push(p, func(t flv.Tag) {
			if !t.IsFrame() || !begun && !t.IsKey() {
				return
			}
			v.last.Store(now.UnixNano())
			media := time.Duration(t.Timestamp-before) * time.Millisecond
			if !begun || media > longest {
				media = 0
			}
			begun, before = true, t.Timestamp
			v.Arrived(now, media)
			at := time.Duration(t.Timestamp) * time.Millisecond // RTP has no other time, and H.264 no picture out of turn here
			v.Picture(at, at, t.Data, now)
			if gap, freeze := gaps.next(now); freeze {
				v.freezes.Inc()
				v.frozen.Add(gap.Seconds())
			}
		})
		if frames.Lost > lost {
			v.lost.Add(float64(frames.Lost - lost))
			lost = frames.Lost
			_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}}) // a connection that broke is seen by the next read
		}
	}
}

// hear takes the sound in until the connection ends.
func (v *viewer) hear(track *webrtc.TrackRemote) {
	packets := rtc.NewPackets(0)
	lost := uint64(0)
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		v.House.N.Received(len(p.Payload))
		if _, ok := packets.Push(p); ok {
			v.heard.Inc()
		}
		v.unheard.Add(float64(packets.Lost - lost))
		lost = packets.Lost
	}
}

// gaps finds freezes as W3C defines them: webrtc-stats, RTCInboundRtpStreamStats.freezeCount.
type gaps struct {
	last time.Time
	ring [30]time.Duration
	n    int
	sum  time.Duration
}

func (g *gaps) next(now time.Time) (gap time.Duration, freeze bool) {
	if g.last.IsZero() {
		g.last = now
		return 0, false
	}
	gap = now.Sub(g.last)
	g.last = now
	if g.n > 0 {
		mean := g.sum / time.Duration(min(g.n, len(g.ring)))
		freeze = gap > max(3*mean, mean+150*time.Millisecond)
	}
	at := g.n % len(g.ring)
	g.sum += gap - g.ring[at]
	g.ring[at] = gap
	g.n++
	return gap, freeze
}
