package edge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/rtc"
)

// whepPath is a channel, or a viewer's connection to one.
var whepPath = regexp.MustCompile(`^/whep/([^/]+)(?:/([A-Z0-9]+))?$`)

// whep lets a WebRTC viewer watch: POST /whep/CHANNEL. The picture is the first rendition's, the sound is what the transcoder makes of it.
func (r *relay) whep(serving context.Context, w http.ResponseWriter, req *http.Request, channel string) {
	rtc.Allow(w)
	key := "/live/" + channel + "/main.flv"
	p := r.join(req.Context(), key, flv.NewHub)
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
	if err := r.call(serving, w, req, channel, p, func() { r.leave(key, p) }); err != nil {
		slog.Info("whep client", "from", req.RemoteAddr, "err", err)
		r.leave(key, p)
	}
}

// call answers the offer; the stream is then sent until the connection, the stream or the server ends.
func (r *relay) call(serving context.Context, w http.ResponseWriter, req *http.Request, channel string, p *pull, leave func()) error {
	pc, err := r.peers.New()
	if err != nil {
		http.Error(w, "there is no connection to be had", http.StatusInternalServerError)
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
	id, ok := r.talks.Add(end)
	if !ok {
		err = errors.New("there are too many viewers")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
	var picture, sound *rtc.Track
	if err == nil {
		picture, err = r.offer(pc, rtc.NewPicture)
	}
	if err == nil {
		sound, err = r.offer(pc, rtc.NewSound)
	}
	if err != nil && ok {
		http.Error(w, "there is nothing to send", http.StatusInternalServerError)
	}
	if err == nil {
		err = r.peers.Answer(w, req, pc, req.URL.Path+"/"+id)
	}
	if err != nil {
		r.talks.Remove(id)
		end()
		_ = pc.Close() // it never was open
		return err
	}
	r.calls.Go(func() {
		defer leave()
		defer r.talks.Remove(id)
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
		var wg sync.WaitGroup
		defer wg.Wait()
		defer end()
		if rtc.Has(pc, webrtc.RTPCodecTypeAudio) {
			wg.Go(func() { r.hear(ctx, channel, sound) })
		}
		if err := show(ctx, p.hub, picture); err != nil && ctx.Err() == nil {
			slog.Info("whep client", "channel", channel, "err", err)
		}
	})
	return nil
}

// offer adds a track to a connection. Its receiver's reports are read until the connection ends: the library answers NACKs while somebody
// reads. A request for a key frame needs no answer, as one comes every second anyway.
func (r *relay) offer(pc *webrtc.PeerConnection, newTrack func() (*rtc.Track, error)) (*rtc.Track, error) {
	track, err := newTrack()
	if err != nil {
		return nil, err
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		return nil, err
	}
	r.calls.Go(func() {
		for {
			if _, _, err := sender.ReadRTCP(); err != nil {
				return
			}
		}
	})
	return track, nil
}

// show sends the stream's pictures until it or ctx ends.
func show(ctx context.Context, hub *flv.Hub, track *rtc.Track) error {
	sub := hub.Subscribe()
	defer sub.Close()
	var annexB rtc.AnnexB
	for tags := sub.Next(ctx); tags != nil; tags = sub.Next(ctx) {
		for _, t := range tags {
			if t.IsVideoHeader() {
				if err := annexB.Configure(t); err != nil {
					return err
				}
			}
			if !t.IsFrame() {
				continue
			}
			unit, err := annexB.Frame(t)
			if err != nil {
				return err
			}
			if err := track.Write(unit, time.Duration(t.Timestamp)*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// soundFile ends the address of a channel's sound for WebRTC.
const soundFile = "/sound.flv"

// hear sends the channel's sound until ctx ends. A stream without sound has none here either.
func (r *relay) hear(ctx context.Context, channel string, track *rtc.Track) {
	key := "/live/" + channel + soundFile
	for again := true; again; again = target.Wait(ctx, time.Second) {
		p := r.join(ctx, key, flv.NewSoundHub)
		sub := p.hub.Subscribe()
		for tags := sub.Next(ctx); tags != nil; tags = sub.Next(ctx) {
			for _, t := range tags {
				if packet := t.Opus(); packet != nil {
					_ = track.Write(packet, time.Duration(t.Timestamp)*time.Millisecond) // a connection that broke ends ctx
				}
			}
		}
		sub.Close()
		r.leave(key, p)
	}
}
