package edge

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"github.com/livedrill/livedrill/target/rtc"
)

var whepPath = regexp.MustCompile(`^/whep/([^/]+)$`)

// whep lets a WebRTC viewer watch: POST /whep/CHANNEL. The picture is the first rendition's; there is no sound yet.
func (r *relay) whep(serving context.Context, w http.ResponseWriter, req *http.Request, channel string) {
	key := "/live/" + channel + "/main.flv"
	p := r.join(req.Context(), key)
	select {
	case <-p.ready:
	case <-req.Context().Done():
		r.leave(key, p)
		return
	}
	if p.status != http.StatusOK {
		r.leave(key, p)
		http.Error(w, http.StatusText(p.status), p.status)
		return
	}
	if err := r.call(serving, w, req, key, p); err != nil {
		slog.Info("whep client", "from", req.RemoteAddr, "err", err)
		r.leave(key, p)
	}
}

// call answers the offer; the stream is then sent until the connection, the stream or the server ends.
func (r *relay) call(serving context.Context, w http.ResponseWriter, req *http.Request, key string, p *pull) error {
	pc, err := r.peers.New()
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(serving)
	connected := make(chan struct{})
	stands := sync.OnceFunc(func() { close(connected) })
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			stands()
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateDisconnected:
			end()
		}
	})
	track, err := webrtc.NewTrackLocalStaticSample(rtc.H264, "video", "livedrill")
	var sender *webrtc.RTPSender
	if err == nil {
		sender, err = pc.AddTrack(track)
	}
	if err == nil {
		err = rtc.Answer(w, req, pc, req.URL.Path)
	}
	if err != nil {
		end()
		_ = pc.Close() // it never was open
		return err
	}
	r.calls.Go(func() {
		for { // the library answers NACKs while somebody reads; a key frame comes every second anyway
			if _, _, err := sender.ReadRTCP(); err != nil {
				return
			}
		}
	})
	r.calls.Go(func() {
		defer r.leave(key, p)
		defer rtc.HangUp(pc)
		defer end()
		limit := time.AfterFunc(rtc.ConnectLimit, end)
		select {
		case <-connected:
			limit.Stop()
		case <-ctx.Done():
			return
		}
		r.rtc.Inc()
		defer r.rtc.Dec()
		if err := send(ctx, p, track); err != nil && ctx.Err() == nil {
			slog.Info("whep client", "stream", key, "err", err)
		}
	})
	return nil
}

// send writes the stream's frames until it or ctx ends.
func send(ctx context.Context, p *pull, track *webrtc.TrackLocalStaticSample) error {
	sub := p.hub.Subscribe()
	defer sub.Close()
	var annexB rtc.AnnexB
	before := uint32(0)
	step := 40 * time.Millisecond // from one frame to the next, as between the two before
	for {
		tags := sub.Next(ctx)
		if tags == nil {
			return nil
		}
		for _, t := range tags {
			if t.IsVideoHeader() {
				if err := annexB.Configure(t); err != nil {
					return err
				}
			}
			if !t.IsFrame() {
				continue
			}
			if d := time.Duration(t.Timestamp-before) * time.Millisecond; before > 0 && d > 0 && d < 5*time.Second {
				step = d
			}
			before = t.Timestamp
			unit, err := annexB.Frame(t)
			if err != nil {
				return err
			}
			if err := track.WriteSample(media.Sample{Data: unit, Duration: step}); err != nil {
				return err
			}
		}
	}
}
