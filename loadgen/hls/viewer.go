package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/stamp"
)

const (
	heartbeat    = 2 * time.Second        // how often a player tells the platform that it lives, and hears which edge to use
	urgent       = 500 * time.Millisecond // the same while its buffer runs low
	low          = time.Second            // a buffer below this runs low
	holdBack     = 3                      // segments behind the live edge at which a player begins (RFC 8216, 6.3.3)
	tooFar       = 8                      // segments behind the live edge at which it jumps forward
	pollEvery    = 500 * time.Millisecond
	fetchLimit   = 4 * time.Second
	segmentLimit = 32 << 20
	fastStart    = time.Second
)

// viewer is one session.
type viewer struct {
	house   *house
	channel string
	low     bool
	client  *http.Client
	player  *player
	began   time.Time
	seen    bool

	watched, stalled time.Duration // of these, what is counted already; guarded by house.mu
	stalls           int

	mu       sync.Mutex
	edge     string
	move     context.CancelFunc // ends the fetch in progress, when the edge changes
	playlist string             // address of the rendition
	next     uint64             // number of the next segment
	have     bool               // next is known
}

func (h *house) newViewer(s seat) *viewer {
	now := time.Now()
	return &viewer{house: h, channel: fmt.Sprintf("%s-%d", h.Channels, s.number%h.Streams), low: s.rng.Float64() < float64(h.Low),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}}, began: now,
		player: &player{started: now, at: now, minStall: time.Duration(h.Stall)}}
}

var errLost = errors.New("patience ran out")

// watch is a session: it returns nil when the viewer had planned to leave, and an error when the viewer gave up.
func (v *viewer) watch(ctx context.Context, stay time.Duration) error {
	n := v.house.n
	n.begun.Inc()
	defer v.client.CloseIdleConnections()
	planned, cancel := context.WithTimeout(ctx, stay)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	v.assign(planned)
	wg.Go(func() {
		for last := time.Now(); target.Wait(planned, urgent); {
			if now := time.Now(); now.Sub(last) >= heartbeat || v.player.left(now) < low {
				v.assign(planned)
				last = now
			}
		}
	})
	defer func() {
		if !v.seen && ctx.Err() == nil { // whatever ended the session: it never had a picture
			n.starts["failed"].Inc()
		}
	}()
	progress := time.Now()
	for planned.Err() == nil {
		got, err := v.step(planned)
		if got {
			progress = time.Now()
		}
		now := time.Now()
		if now.Sub(progress) > time.Duration(v.house.Patience) && v.player.left(now) == 0 {
			n.dropped.Inc()
			return errLost
		}
		if err != nil {
			target.Wait(planned, 250*time.Millisecond)
		} else if !got {
			target.Wait(planned, pollEvery)
		}
	}
	return nil
}

// assign asks the platform for an edge, and moves there when it is another one.
func (v *viewer) assign(ctx context.Context) {
	a, err := loadgen.Dispatch(ctx, v.house.client, v.house.on, v.house.m.Region)
	if err != nil {
		return // the edge stays
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.edge == a.Edge {
		return
	}
	if v.edge != "" {
		v.house.n.moves.Inc()
	}
	v.edge, v.playlist = a.Edge, ""
	if v.move != nil {
		v.move()
	}
}

// step fetches the playlist and all segments that are new in it. It tells whether there was one.
func (v *viewer) step(ctx context.Context) (got bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v.mu.Lock()
	edge, address := v.edge, v.playlist
	v.move = cancel
	v.mu.Unlock()
	if edge == "" {
		return false, errors.New("no edge")
	}
	if address == "" {
		if address, err = v.choose(ctx, edge); err != nil {
			return false, err
		}
		v.mu.Lock()
		if v.edge == edge {
			v.playlist = address
		}
		v.mu.Unlock()
	}
	text, err := v.fetch(ctx, address, playlistLimit)
	if err != nil {
		return false, err
	}
	items, err := parseMedia(string(text))
	if err != nil || len(items) == 0 {
		return false, err
	}
	last := items[len(items)-1].number
	// A number far beyond the list's end: the stream began anew.
	if !v.have || v.next+tooFar < last || v.next > last+tooFar || v.next < items[0].number {
		v.next, v.have = items[max(0, len(items)-holdBack)].number, true
	}
	for _, i := range items {
		if i.number < v.next {
			continue
		}
		uri, err := resolve(address, i.uri)
		if err != nil {
			return got, err
		}
		if err := v.segment(ctx, uri, i); err != nil {
			return got, err
		}
		got = true
		v.next = i.number + 1
	}
	return got, nil
}

// choose reads the master playlist and takes the rendition that this viewer's line is good for.
func (v *viewer) choose(ctx context.Context, edge string) (string, error) {
	master, err := loadgen.URL(v.house.on, edge, "http", "/live/"+v.channel+"/index.m3u8")
	if err != nil {
		return "", err
	}
	text, err := v.fetch(ctx, master, playlistLimit)
	if err != nil {
		return "", err
	}
	variants, err := parseMaster(string(text))
	if err != nil {
		return "", err
	}
	slices.SortStableFunc(variants, func(a, b variant) int { return b.bandwidth - a.bandwidth })
	chosen := variants[0]
	if v.low {
		chosen = variants[len(variants)-1]
	}
	return resolve(master, chosen.uri)
}

// segment fetches one segment, gives it to the player and reads the stamps in it.
func (v *viewer) segment(ctx context.Context, uri string, i item) error {
	n := v.house.n
	start := time.Now()
	data, err := v.fetch(ctx, uri, segmentLimit)
	if err != nil {
		return err
	}
	now := time.Now()
	n.segment.Observe(now.Sub(start).Seconds())
	n.bytes.Add(float64(len(data)))
	v.player.arrive(now, i.duration)
	if !v.seen {
		v.seen = true
		took := now.Sub(v.began)
		n.first.Observe(took.Seconds())
		if took <= fastStart {
			n.starts["fast"].Inc()
		} else {
			n.starts["slow"].Inc()
		}
	}
	frames, unstamped := 0, 0
	broken := videoFrames(data, func(frame []byte) {
		frames++
		if at, ok := stamp.Find(frame); ok {
			n.delay.Observe(now.Sub(at).Seconds())
		} else {
			unstamped++
		}
	})
	n.frames.Add(float64(frames))
	n.unstamped.Add(float64(unstamped))
	n.broken.Add(float64(broken))
	return nil
}

func (v *viewer) fetch(ctx context.Context, url string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, limit))
}
