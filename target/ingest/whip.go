package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/rtc"
)

// keyFrameEvery is how often a WebRTC publisher is asked for a key frame: browsers send none of their own accord.
const keyFrameEvery = time.Second

// whip takes a WebRTC publisher in: POST /whip/KEY (RFC 9725).
func (s *server) whip(serving context.Context, w http.ResponseWriter, r *http.Request) {
	rtc.Allow(w)
	channel, err := s.authorise(r.Context(), r.PathValue("key"))
	if err != nil {
		s.refused.Inc()
		http.Error(w, "the gateway does not know this stream key", http.StatusForbidden)
		return
	}
	hub, err := s.open(channel)
	if err != nil {
		s.refused.Inc()
		http.Error(w, "this channel is being published already", http.StatusConflict)
		return
	}
	pc, err := s.peers.New()
	if err != nil {
		http.Error(w, "there is no connection to be had", http.StatusInternalServerError)
	} else {
		err = s.receive(serving, w, r, pc, channel, hub)
	}
	if err != nil {
		slog.Info("whip client", "from", r.RemoteAddr, "err", err)
		s.refused.Inc()
		s.close(channel, hub)
		if pc != nil {
			_ = pc.Close() // it never was open
		}
	}
}

// errGoodbye ends a connection whose publisher asked for that.
var errGoodbye = errors.New("the publisher said goodbye")

// call is a publisher by WebRTC.
type call struct {
	server *server
	pc     *webrtc.PeerConnection
	hub    *flv.Hub

	mu    sync.Mutex
	done  tampered
	begun time.Time // when the first packet came: a track's first packet has the time since then
}

// receive answers the offer; the stream then lives until its connection or the server ends.
func (s *server) receive(serving context.Context, w http.ResponseWriter, r *http.Request, pc *webrtc.PeerConnection, channel string, hub *flv.Hub) error {
	ctx, end := context.WithCancelCause(serving)
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateClosed || state == webrtc.PeerConnectionStateDisconnected {
			end(errors.New(state.String()))
		}
	})
	silent := time.AfterFunc(idle, func() { end(errors.New("no picture came")) })
	c := &call{server: s, pc: pc, hub: hub}
	var video, audio atomic.Bool
	wait := rtc.OnTrack(pc, func(track *webrtc.TrackRemote) {
		switch kind := track.Kind(); {
		case kind == webrtc.RTPCodecTypeVideo && video.CompareAndSwap(false, true):
			silent.Stop()
			s.accepted.Inc()
			end(c.video(ctx, track))
		case kind == webrtc.RTPCodecTypeAudio && audio.CompareAndSwap(false, true):
			c.audio(track)
		default: // what is beyond the first is read, so that the library's buffers do not fill
			for {
				if _, _, err := track.ReadRTP(); err != nil {
					return
				}
			}
		}
	})
	id, ok := s.sessions.Add(func() { end(errGoodbye) })
	if !ok {
		err := errors.New("there are too many connections")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		end(err)
		return err
	}
	if err := s.peers.Answer(w, r, pc, "/whip/"+r.PathValue("key")+"/"+id); err != nil {
		s.sessions.Remove(id)
		end(err)
		return err
	}
	if rtc.Has(pc, webrtc.RTPCodecTypeAudio) {
		hub.Publish(flv.OpusHeader) // before the first picture: who reads the stream knows what to wait for
	}
	s.calls.Go(func() {
		defer s.sessions.Remove(id)
		defer s.close(channel, hub)
		defer wait()
		defer rtc.HangUp(pc)
		defer silent.Stop()
		_ = s.live(ctx, channel, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err() // said where the connection ended
		})
		if serving.Err() == nil && video.Load() && !errors.Is(context.Cause(ctx), errGoodbye) { // without a picture it never was a stream
			s.broken.Inc()
		}
	})
	return nil
}

// since is the time of a track whose first packet comes now.
func (c *call) since() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun.IsZero() {
		c.begun = time.Now()
	}
	return time.Since(c.begun)
}

// publish hands a tag on.
func (c *call) publish(t flv.Tag) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if changed, ok := c.done.apply(c.server.tampers.Now(), t); ok {
		c.hub.Publish(changed)
	} else if t.IsKey() {
		c.hub.Forget()
	}
}

// video hands the publisher's frames on until the track or ctx ends. A publisher is asked for a key frame at the start, after a loss, and
// every now and then.
func (c *call) video(ctx context.Context, track *webrtc.TrackRemote) error {
	var frames *rtc.Frames
	var asked time.Time
	lost := uint64(0)
	for ctx.Err() == nil {
		if err := track.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return err
		}
		p, _, err := track.ReadRTP()
		if err != nil {
			return err
		}
		if frames == nil {
			frames = rtc.NewFrames(c.since())
		}
		c.server.bytes.Add(float64(len(p.Payload)))
		frames.Push(p, c.publish)
		if now := time.Now(); now.Sub(asked) > keyFrameEvery || frames.Lost > lost && now.Sub(asked) > keyFrameEvery/4 {
			asked, lost = now, frames.Lost
			if err := c.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}}); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// audio hands the publisher's sound on until the track ends. A stream without sound goes on as one.
func (c *call) audio(track *webrtc.TrackRemote) {
	var packets *rtc.Packets
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if packets == nil {
			packets = rtc.NewPackets(c.since())
		}
		c.server.bytes.Add(float64(len(p.Payload)))
		if at, ok := packets.Push(p); ok {
			c.publish(flv.OpusTag(uint32(at/time.Millisecond), p.Payload))
		}
	}
}

// live tells the transcoder of a stream again and again while do lasts, as it may be started anew, and once when it is over. A publisher who
// comes again makes another publication, whose time stamps begin anew: also when this ingest has been killed and never said that the one before
// was over.
func (s *server) live(ctx context.Context, channel string, do func(context.Context) error) error {
	publication := strconv.FormatInt(time.Now().UnixNano(), 36)
	telling, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.keepTelling(telling, channel, publication)
	}()
	defer func() {
		end()
		<-done
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := s.tell(last, http.MethodDelete, channel, publication); err != nil {
			slog.Warn("transcoder", "channel", channel, "err", err)
		}
	}()
	return do(ctx)
}
