package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

var errNoStream = errors.New("nobody publishes")

// unseen is what can be said when the stream has gone on which the effect was to be seen: there is none, and it is over when the ingest reads
// back that it is told to do nothing.
func unseen(ctx context.Context, on target.Component, name string, why error) (injectors.Measured, error) {
	if !errors.Is(why, errNoStream) {
		return injectors.Measured{}, why
	}
	told, err := target.HasBeenTold[target.Tampering](ctx, on, "ingest")
	return injectors.Measured{N: 0, Asked: map[string]float64{name: 0}, Is: map[string]float64{}, Clean: told == target.Tampering{},
		Reason: why.Error() + " any more: no viewer can tell"}, err
}

// play asks for the stream, as a viewer does, until ctx ends.
func (f *tamper) play(ctx context.Context, on target.Component) (io.ReadCloser, error) {
	addr, err := on.HostPort("http")
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: clients.DialFrom(on)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/live/"+f.Channel+".flv", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // there is nothing in it
		if err = fmt.Errorf("stream %s: %s", f.Channel, resp.Status); resp.StatusCode == http.StatusNotFound {
			err = fmt.Errorf("channel: %w %s here", errNoStream, f.Channel)
		}
	}
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// seen is what a viewer at the ingest got in a time.
type seen struct {
	video, keys, audio int
	foreign            int     // pictures of another codec than H.264
	bits               float64 // of pictures and sound
	ahead              float64 // ms by which the first time stamp is ahead of this machine's clock; only differences say something
	late               float64 // ms by which time stamps run ahead of the clock, over the time that was watched
	skew               float64 // ms by which the last sound is later than the last picture
	took               time.Duration
}

// watch plays the stream for a time. A stream that is not there, or ends meanwhile, is an error.
func (f *tamper) watch(ctx context.Context, on target.Component, over time.Duration) (s seen, err error) {
	ctx, cancel := context.WithTimeout(ctx, over+2*time.Second)
	defer cancel()
	stream, err := f.play(ctx, on)
	if err != nil {
		return s, err
	}
	defer stream.Close()
	// What the ingest keeps for newcomers comes at once, and says nothing of now: the first quarter of a second is not counted.
	begin := time.Now().Add(250 * time.Millisecond)
	stop := time.AfterFunc(time.Until(begin)+over, cancel)
	defer stop.Stop()
	var firstAt, lastAt time.Time
	var first, last, sound uint32
	for in := flv.NewReader(stream); ; {
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
		s.bits += 8 * float64(len(t.Data))
		switch {
		case t.IsFrame():
			if s.video++; s.video == 1 {
				first, firstAt = t.Timestamp, now
				s.ahead = float64(t.Timestamp) - float64(now.UnixMilli())
			}
			last, lastAt = t.Timestamp, now
		case t.IsVideo():
			s.foreign++
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
