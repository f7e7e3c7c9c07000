package transcode

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/traces"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/stamp"
)

const (
	// behind is the backlog at which an encoder counts as slower than real time.
	behind = 1500 * time.Millisecond
	// sourceLimit is how long a source may stay away.
	sourceLimit = 30 * time.Second
	// firstRest is how long a stream that gave its renditions up waits before it tries them again; it doubles each time.
	firstRest = 10 * time.Second
)

// stream is one stream on its way through.
type stream struct {
	server  *server
	channel string
	source  string
	cancel  context.CancelFunc
	outputs map[string]*flv.Hub
	sound   *sound

	mu      sync.Mutex
	pid     int                 // of the encoder, 0 while there is none
	since   time.Time           // when the encoder was started
	seen    map[int64]time.Time // when a stamped frame came in
	input   mediaClock          // of all that came in
	output  mediaClock          // of what went out in the first rendition
	encoded mediaClock          // of what the encoder put out
	queue   []flv.Tag           // what the encoder has not taken yet
	wake    chan struct{}
	config  [3]*flv.Tag       // script, video and audio configuration of the source
	group   []flv.Tag         // of the source, from the newest key frame
	resting bool              // there is no encoder: the renditions were given up
	passing map[string]bool   // the renditions in whose place the source goes out
	done    map[string]uint32 // newest time stamp put out, by rendition
}

// mediaClock adds media time up from time stamps, over jumps.
type mediaClock struct {
	begun bool
	last  uint32
	total time.Duration
}

func (c *mediaClock) tick(ts uint32) {
	if step := ts - c.last; c.begun && step < 5000 {
		c.total += time.Duration(step) * time.Millisecond
	}
	c.last, c.begun = ts, true
}

func newStream(s *server, channel, source string, cancel context.CancelFunc) *stream {
	st := &stream{server: s, channel: channel, source: source, cancel: cancel, outputs: map[string]*flv.Hub{},
		seen: map[int64]time.Time{}, wake: make(chan struct{}, 1), passing: map[string]bool{}, done: map[string]uint32{}}
	st.sound = newSound(st.take)
	for _, r := range ladder {
		st.outputs[r.Name] = flv.NewHub()
	}
	return st
}

// run carries the stream until its source or ctx ends.
func (st *stream) run(ctx context.Context) {
	defer st.cancel()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, hub := range st.outputs {
		wg.Go(func() { st.push(ctx, name, hub) })
		defer hub.Close()
	}
	wg.Go(func() { st.sound.run(ctx) })
	wg.Go(func() { st.encode(ctx) })
	// The ingest says when a stream has ended. Until then a source that breaks off is fetched again; one that stays away for
	// long is given up.
	for lost := time.Now(); ctx.Err() == nil && time.Since(lost) < sourceLimit; {
		begun := time.Now()
		err := st.pull(ctx)
		if ctx.Err() != nil {
			break
		}
		slog.Info("source broke off", "channel", st.channel, "err", err)
		if time.Since(begun) > time.Second {
			lost = time.Now()
		}
		target.Wait(ctx, 250*time.Millisecond)
	}
	target.Wait(ctx, 200*time.Millisecond) // what is in the encoder may still come out
	cancel()
}

// pull reads the source from the ingest.
func (st *stream) pull(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, st.source, nil)
	if err != nil {
		return err
	}
	resp, err := st.server.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	in := flv.NewReader(bufio.NewReaderSize(resp.Body, 32<<10))
	for {
		tag, err := in.Next()
		if err != nil {
			return err
		}
		if !st.sound.take(tag) {
			st.take(tag)
		}
	}
}

// take queues a tag of the source for the encoder, or passes it on.
func (st *stream) take(t flv.Tag) {
	now := time.Now()
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case t.Type == flv.Script:
		st.config[0] = &t
	case t.IsVideoHeader():
		st.config[1] = &t
	case t.IsAudioHeader():
		st.config[2] = &t
	case t.IsKey():
		st.group = append(st.group[:0:0], t)
	case len(st.group) > 0 && len(st.group) < 4096:
		st.group = append(st.group, t)
	}
	if t.IsFrame() {
		st.input.tick(t.Timestamp)
		if at, ok := stamp.Find(t.Data); ok {
			st.server.numbers.in.Observe(now.Sub(at).Seconds())
			if len(st.seen) < 8192 {
				st.seen[at.UnixMicro()] = now
			}
		}
	}
	for _, r := range ladder {
		if st.passing[r.Name] {
			st.emit(r.Name, t)
		}
	}
	if st.resting {
		return
	}
	st.queue = append(st.queue, t)
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// emit puts a tag out in one rendition, never twice. st.mu is held.
func (st *stream) emit(name string, t flv.Tag) {
	if t.IsFrame() {
		if last, begun := st.done[name]; begun && t.Timestamp <= last && last-t.Timestamp < 60_000 {
			return
		}
		st.done[name] = t.Timestamp
		if name == ladder[0].Name {
			st.measure(t)
		}
	}
	st.outputs[name].Publish(t)
}

// measure notes how long a frame took through the transcoder.
func (st *stream) measure(t flv.Tag) {
	st.output.tick(t.Timestamp)
	at, ok := stamp.Find(t.Data)
	if !ok {
		return
	}
	now := time.Now()
	st.server.numbers.out.Observe(now.Sub(at).Seconds())
	if in, ok := st.seen[at.UnixMicro()]; ok {
		st.server.numbers.through.Observe(now.Sub(in).Seconds())
		delete(st.seen, at.UnixMicro())
		st.trace(at, in, now)
	}
}

// trace takes in a picture's way so far: from the publisher through the ingest, and through the transcoder.
func (st *stream) trace(sent, in, out time.Time) {
	kept := st.server.traces
	if !kept.Traced(sent) {
		return
	}
	of := record.ThreadOf(st.channel, sent)
	span := func(name, hop string, from, to time.Time) traces.Span {
		return traces.Span{Name: name, Kind: traces.Internal, From: from, To: to, With: map[string]string{traces.Channel: st.channel, traces.Peer: hop}}
	}
	kept.Whole(of, span(traces.Picture, "", sent, out), span("ingest", "ingest", sent, in), span("transcode", st.server.config.Name, in, out))
}

// backlog is how far the output is behind the input.
func (st *stream) backlog() time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.input.begun {
		return 0
	}
	return max(0, st.input.total-st.output.total)
}

// lag is how far the encoder is behind the input, whatever goes out in its place.
func (st *stream) lag() time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.encoded.begun {
		return time.Since(st.since)
	}
	return time.Duration(int32(st.input.last-st.encoded.last)) * time.Millisecond
}

// renditions is how many renditions are encoded now.
func (st *stream) renditions() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := 0
	for _, r := range ladder {
		if !st.passing[r.Name] {
			n++
		}
	}
	return n
}

func (st *stream) rests() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.resting
}

func (st *stream) progress() (pid int, media, input float64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.pid, st.encoded.total.Seconds(), st.input.total.Seconds()
}

// push feeds one rendition to the origin, again and again until ctx ends.
func (st *stream) push(ctx context.Context, name string, hub *flv.Hub) {
	url := fmt.Sprintf("http://%s/live/%s/%s.flv", st.server.config.Peer("origin", target.PortHTTP), st.channel, name)
	for ctx.Err() == nil {
		if err := st.pushOnce(ctx, url, hub); err != nil && ctx.Err() == nil {
			slog.Info("origin", "channel", st.channel, "rendition", name, "err", err)
		}
		target.Wait(ctx, 200*time.Millisecond)
	}
}

func (st *stream) pushOnce(ctx context.Context, url string, hub *flv.Hub) error {
	sub := hub.Subscribe()
	defer sub.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer write.Close()
		buf := append([]byte(nil), flv.Header...)
		for {
			if _, err := write.Write(buf); err != nil {
				return
			}
			buf = buf[:0]
			tags := sub.Next(ctx)
			if tags == nil {
				return
			}
			for _, t := range tags {
				buf = t.Append(buf)
			}
		}
	})
	defer wg.Wait()
	defer read.Close()
	defer sub.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, read)
	if err != nil {
		return err
	}
	resp, err := st.server.client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
