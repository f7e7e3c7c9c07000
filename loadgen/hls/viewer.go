package hls

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/audience"
	"github.com/livedrill/livedrill/target"
)

const (
	low          = time.Second // a buffer below this runs low
	holdBack     = 3           // segments behind the live edge at which a player begins (RFC 8216, 6.3.3)
	tooFar       = 8           // segments behind the live edge at which it jumps forward
	fetchLimit   = 4 * time.Second
	segmentLimit = 32 << 20
)

// download is room for one answer, and for what is in it. Whoever is next uses it again: thousands of segments in a second, of a hundred
// kilobytes each, would keep the collector of garbage busier than the viewers.
type download struct {
	bytes.Buffer
	demuxer
}

var downloads = sync.Pool{New: func() any { return new(download) }}

// viewer is one session.
type viewer struct {
	*audience.Session
	n      numbers
	low    bool
	scheme string
	client *http.Client

	playlist string        // address of the rendition
	at       string        // edge that it is at
	target   time.Duration // length of the playlist's longest segment
	next     uint64        // number of the next segment
	have     bool          // next is known
	jumped   bool          // it does not follow the segment before
}

func (l *Load) newViewer(s *audience.Session, n numbers, scheme string, trust *tls.Config) *viewer {
	return &viewer{Session: s, n: n, low: s.Rand.Float64() < float64(l.Low), scheme: scheme, target: time.Second, // until a playlist has a segment
		client: &http.Client{CheckRedirect: loadgen.Stay, Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true, TLSClientConfig: trust}}}
}

// watch is part of the session: see audience.Watch.
func (v *viewer) watch(ctx context.Context) error {
	defer v.client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	v.Assign(ctx)
	wg.Go(func() { v.Follow(ctx, func(now time.Time) bool { return v.Left(now) < low }) })
	progress := time.Now()
	for ctx.Err() == nil {
		asked := time.Now()
		got, err := v.step(ctx)
		if got {
			progress = time.Now()
		}
		now := time.Now()
		if now.Sub(progress) > time.Duration(v.House.Patience) && v.Left(now) == 0 {
			return audience.Lost(err)
		}
		// A playlist is asked for again after a segment's length, or after half of one if there was nothing new (RFC 8216, 6.3.4).
		switch {
		case err != nil:
			target.Wait(ctx, 250*time.Millisecond)
		case got:
			target.Wait(ctx, time.Until(asked.Add(v.target)))
		default:
			target.Wait(ctx, time.Until(asked.Add(v.target/2)))
		}
	}
	return nil
}

// step fetches the playlist and all segments that are new in it. It tells whether there was one.
func (v *viewer) step(ctx context.Context) (got bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	edge := v.Edge(cancel)
	if edge == "" && v.House.URL == "" {
		return false, v.NoEdge()
	}
	if v.playlist == "" || v.at != edge {
		v.Reached(audience.Dispatched)
		if v.playlist, err = v.choose(ctx, edge); err != nil {
			return false, err
		}
		v.at = edge
	}
	address := v.playlist
	text, err := v.list(ctx, address)
	if err != nil {
		return false, err
	}
	items, err := parseMedia(text)
	if err != nil || len(items) == 0 {
		return false, err
	}
	v.target = 250 * time.Millisecond // at least
	for _, i := range items {
		v.target = max(v.target, min(i.duration, 10*time.Second))
	}
	last := items[len(items)-1].number
	// A number far beyond the list's end: the stream began anew.
	if !v.have || v.next+tooFar < last || v.next > last+tooFar || v.next < items[0].number {
		v.next, v.have, v.jumped = items[max(0, len(items)-holdBack)].number, true, true
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
	master := v.House.URL
	if master == "" {
		var err error
		if master, err = loadgen.URL(v.House.On, edge, v.scheme, "/live/"+v.Channel+"/index.m3u8"); err != nil {
			return "", err
		}
	}
	text, err := v.list(ctx, master)
	if err != nil {
		return "", err
	}
	if strings.Contains(text, "#EXTINF:") { // there is one rendition, and no master playlist
		return master, nil
	}
	variants, err := parseMaster(text)
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
	d := downloads.Get().(*download)
	defer downloads.Put(d)
	start := time.Now()
	if err := v.fetch(ctx, uri, segmentLimit, d); err != nil {
		return err
	}
	now := time.Now()
	v.n.segment.Observe(now.Sub(start).Seconds())
	v.House.N.Received(d.Len())
	v.Arrived(now, i.duration)
	if v.jumped || i.discontinuity {
		v.Connected()
		v.jumped = false
	}
	broken := d.accessUnits(d.Bytes(), func(u access) {
		if u.video {
			v.Picture(u.decoded, u.at, u.data, now)
		} else {
			v.Sound(u.at, u.data)
		}
	})
	v.n.broken.Add(float64(broken))
	return nil
}

// list fetches a playlist.
func (v *viewer) list(ctx context.Context, url string) (string, error) {
	d := downloads.Get().(*download)
	defer downloads.Put(d)
	err := v.fetch(ctx, url, playlistLimit, d)
	return d.String(), err
}

// fetch puts what is at an address, up to a limit of bytes, in the place of what was there.
func (v *viewer) fetch(ctx context.Context, url string, limit int64, into *download) error {
	into.Reset()
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(v.Traced(ctx), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w: %s", url, target.ErrRefused, resp.Status)
	}
	_, err = into.ReadFrom(io.LimitReader(resp.Body, limit))
	return err
}
