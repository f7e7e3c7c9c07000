package ingest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/rtc"
)

// keyFrameEvery is how often a WebRTC publisher is asked for a key frame: browsers send none of their own accord.
const keyFrameEvery = time.Second

// whip takes a WebRTC publisher in: POST /whip/KEY (RFC 9725). Its picture goes the way of every stream; its sound does not yet.
func (s *server) whip(serving context.Context, w http.ResponseWriter, r *http.Request) {
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
	if err == nil {
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

// receive answers the offer; the stream then lives until its connection or the server ends.
func (s *server) receive(serving context.Context, w http.ResponseWriter, r *http.Request, pc *webrtc.PeerConnection, channel string, hub *flv.Hub) error {
	ctx, end := context.WithCancelCause(serving)
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateClosed || state == webrtc.PeerConnectionStateDisconnected {
			end(errors.New(state.String()))
		}
	})
	silent := time.AfterFunc(idle, func() { end(errors.New("no picture came")) })
	var video atomic.Bool
	wait := rtc.OnTrack(pc, func(track *webrtc.TrackRemote) {
		if track.Kind() == webrtc.RTPCodecTypeVideo && video.CompareAndSwap(false, true) {
			silent.Stop()
			s.accepted.Inc()
			end(s.video(ctx, pc, track, hub))
			return
		}
		for { // sound, and pictures beyond the first: read, so that the library's buffers do not fill
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
		}
	})
	if err := rtc.Answer(w, r, pc, "/whip/"+r.PathValue("key")); err != nil {
		end(err)
		return err
	}
	s.calls.Go(func() {
		defer s.close(channel, hub)
		defer wait()
		defer rtc.HangUp(pc)
		defer silent.Stop()
		_ = s.live(ctx, channel, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err() // said where the connection ended
		})
	})
	return nil
}

// video hands the publisher's frames on until the track or ctx ends. A publisher is asked for a key frame at the start, after a loss, and
// every now and then.
func (s *server) video(ctx context.Context, pc *webrtc.PeerConnection, track *webrtc.TrackRemote, hub *flv.Hub) error {
	frames := rtc.NewFrames()
	var done tampered
	var asked time.Time
	lost := uint64(0)
	for ctx.Err() == nil {
		if err := track.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return err
		}
		p, _, err := track.ReadRTP()
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				s.broken.Inc()
			}
			return err
		}
		s.bytes.Add(float64(len(p.Payload)))
		frames.Push(p, func(t flv.Tag) {
			if changed, ok := done.apply(s.tampers.Now(), t); ok {
				hub.Publish(changed)
			} else if t.IsKey() {
				hub.Forget()
			}
		})
		if now := time.Now(); now.Sub(asked) > keyFrameEvery || frames.Lost > lost && now.Sub(asked) > keyFrameEvery/4 {
			asked, lost = now, frames.Lost
			if err := pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}}); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// live tells the transcoder of a stream again and again while do lasts, as it may be started anew, and once when it is over.
func (s *server) live(ctx context.Context, channel string, do func(context.Context) error) error {
	telling, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.keepTelling(telling, channel)
	}()
	defer func() {
		end()
		<-done
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := s.tell(last, http.MethodDelete, channel); err != nil {
			slog.Warn("transcoder", "channel", channel, "err", err)
		}
	}()
	return do(ctx)
}
