package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Spoil breaks HLS at the origin: playlists that stay as they are, segments that are not found, or have wrong bytes. What an edge has
// fetched meanwhile it keeps for as long as it keeps anything, as it would from a real origin.
type Spoil struct {
	Channel string     `json:"channel" help:"stream that the effect is measured on; all streams of the origin are hit"`
	Share   unit.Ratio `json:"share" help:"of segments that are missing or corrupt, evenly spread"`
	Sort    string     `json:"-"` // playlist-frozen, segment-missing or segment-corrupt
}

func (f *Spoil) order() target.Spoiling {
	switch f.Sort {
	case "segment-missing":
		return target.Spoiling{Missing: float64(f.Share)}
	case "segment-corrupt":
		return target.Spoiling{Corrupt: float64(f.Share)}
	}
	return target.Spoiling{Frozen: true}
}

// Validate finds settings that cannot work.
func (f *Spoil) Validate() error {
	var errs []error
	if f.Channel == "" || len(f.Channel) > 64 {
		errs = append(errs, fmt.Errorf("channel: %q is no name of a stream", f.Channel))
	}
	if f.Share < 0.2 || f.Share > 1 {
		errs = append(errs, fmt.Errorf("share: %s is not between 20%% and 100%%, which the few segments that there are can prove", f.Share))
	}
	return errors.Join(errs...)
}

// BackEnd is part of injectors.BackEnded.
func (*Spoil) BackEnd() string { return "origin" }

// Check is part of injectors.Fault: the stream must be there, or nothing could be proven.
func (f *Spoil) Check(ctx context.Context, on target.Component) error {
	if err := injectors.Untold[target.Spoiling](ctx, on, "origin"); err != nil {
		return err
	}
	begun, err := f.newest(ctx, on)
	if err != nil || f.Sort != "playlist-frozen" {
		return err
	}
	err = target.WaitUntil(ctx, still, func() bool {
		target.Wait(ctx, 100*time.Millisecond)
		now, err := f.newest(ctx, on)
		return err == nil && now > begun
	})
	if err != nil {
		err = fmt.Errorf("the playlist of %s does not move by itself: %w", f.Channel, err)
	}
	return err
}

// still is how long a playlist has to stay as it is to count as frozen: segments last a second or a little more.
const still = 2500 * time.Millisecond

// Save is part of injectors.Fault.
func (*Spoil) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return injectors.SaveTold[target.Spoiling](ctx, on, "origin")
}

// Inject is part of injectors.Fault.
func (f *Spoil) Inject(ctx context.Context, on target.Component) error {
	return injectors.Tell(ctx, on, "origin", f.order())
}

// get fetches a file of the stream's first rendition, past every cache.
func (f *Spoil) get(ctx context.Context, on target.Component, file string) (int, []byte, error) {
	addr, err := clients.InRange(on, "http")
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/live/"+f.Channel+"/main/"+file, nil)
	if err != nil {
		return 0, nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: clients.DialFrom(on)}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, body, err
}

// newest gives the number of the last segment of the playlist.
func (f *Spoil) newest(ctx context.Context, on target.Component) (int, error) {
	status, text, err := f.get(ctx, on, "index.m3u8")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	number := 0
	if err == nil {
		number, err = lastOf(string(text))
	}
	if err != nil {
		err = fmt.Errorf("playlist of %s: %w", f.Channel, err)
	}
	return number, err
}

// lastOf reads the number of the last segment of a playlist of our own origin: lines of the form 17.ts.
func lastOf(text string) (int, error) {
	last := -1
	for line := range strings.Lines(text) {
		name, ok := strings.CutSuffix(strings.TrimSpace(line), ".ts")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%q is no number of a segment", name)
		}
		last = n
	}
	if last < 0 {
		return 0, errors.New("it has no segment")
	}
	return last, nil
}

// Effect looks at the playlist twice, or fetches what segments there are.
func (f *Spoil) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	last, err := f.newest(ctx, on)
	if err != nil {
		return injectors.Measured{}, err
	}
	if f.Sort == "playlist-frozen" {
		if !target.Wait(ctx, still) {
			return injectors.Measured{}, ctx.Err()
		}
		later, err := f.newest(ctx, on)
		return injectors.Measured{N: 2, Asked: map[string]float64{"new_segments": 0}, Is: map[string]float64{"new_segments": float64(later - last)},
			Bites: later == last, Clean: later > last, Reason: fmt.Sprintf("%d new segments in %s", later-last, still)}, err
	}
	const back = 11 // the origin keeps a few segments more than it lists
	n, bad := 0, 0
	for number := max(0, last-back); number <= last; number++ {
		status, data, err := f.get(ctx, on, strconv.Itoa(number)+".ts")
		if err != nil {
			return injectors.Measured{}, err
		}
		n++
		if f.Sort == "segment-missing" && status != http.StatusOK || f.Sort == "segment-corrupt" && status == http.StatusOK && !wellFormed(data) {
			bad++
		}
	}
	share := float64(bad) / float64(n)
	name := strings.TrimPrefix(f.Sort, "segment-") + "_ratio"
	m := injectors.Measured{N: uint64(n), Asked: map[string]float64{name: float64(f.Share)}, Is: map[string]float64{name: share},
		Bites: bad > 0 && math.Abs(float64(bad)-float64(n)*float64(f.Share)) <= 1, Clean: bad == 0,
		Reason: fmt.Sprintf("%d of %d segments are %s", bad, n, strings.TrimPrefix(f.Sort, "segment-"))}
	m.Bound(name, float64(n))
	return m, nil
}

// wellFormed tells whether data is a row of MPEG-TS packets (ISO/IEC 13818-1, 2.4.3.2).
func wellFormed(data []byte) bool {
	const size, sync = 188, 0x47
	for i := 0; i < len(data); i += size {
		if data[i] != sync {
			return false
		}
	}
	return len(data) > 0 && len(data)%size == 0
}

// Restore is part of injectors.Fault.
func (*Spoil) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	return injectors.RestoreTold[target.Spoiling](ctx, on, "origin", was)
}

func spoil(sort, summary string) injectors.Kind {
	return injectors.Kind{Name: "media." + sort, Summary: summary, BackEnds: []string{"origin"}, On: "origin", Takes: "segments, processes",
		Default: func() injectors.Fault { return &Spoil{Channel: "streamers-0", Share: 0.5, Sort: sort} }}
}
