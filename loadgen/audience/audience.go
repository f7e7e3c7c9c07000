// Package audience is what viewers of every protocol have in common: they come, have a channel, wait for a picture, watch, stall, lose
// patience or leave as planned, and somebody else takes the seat. How media reach a viewer is the protocol's own.
package audience

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Settings are what every audience has. One who leaves a seat makes room for the next; newcomers stand, and only for a while.
type Settings struct {
	Viewers   int           `json:"viewers" help:"viewers at once"`
	Newcomers loadgen.Shape `json:"newcomers" help:"arrivals of more viewers, who watch once"`
	Channels  string        `json:"channels" help:"load whose streams are watched"`
	Streams   int           `json:"streams" help:"number of that load's streams"`
	Stay      unit.Duration `json:"stay" help:"mean time that a viewer watches"`
	Stall     unit.Duration `json:"stall" help:"shortest gap that counts as a stall"`
	Gap       unit.Duration `json:"gap" help:"longest step from one picture's time stamp to the next that is no gap"`
	Patience  unit.Duration `json:"patience" help:"time without a picture after which a viewer leaves"`
	URL       string        `json:"url" help:"address on a server of one's own on loopback; empty: the platform's channels"`
}

// Usual is ten viewers.
func Usual() Settings {
	return Settings{Viewers: 10, Channels: "streamers", Streams: 1, Stay: unit.Duration(20 * time.Second),
		Stall: unit.Duration(500 * time.Millisecond), Gap: unit.Duration(500 * time.Millisecond), Patience: unit.Duration(15 * time.Second)}
}

// Check finds settings that cannot work. The schemes are what the protocol's addresses begin with.
func (s *Settings) Check(schemes ...string) error {
	var errs []error
	if s.Viewers < 0 || s.Viewers > 100_000 {
		errs = append(errs, fmt.Errorf("viewers: %d is not between 0 and 100000", s.Viewers))
	}
	if !s.Newcomers.IsZero() {
		errs = append(errs, s.Newcomers.Validate())
	} else if s.Viewers == 0 {
		errs = append(errs, errors.New("viewers: nobody watches: give viewers or newcomers"))
	}
	if s.Streams < 1 {
		errs = append(errs, fmt.Errorf("streams: %d is below 1", s.Streams))
	}
	if time.Duration(s.Stay) < time.Second {
		errs = append(errs, fmt.Errorf("stay: %s is below 1s", s.Stay))
	}
	if s.Gap <= 0 {
		errs = append(errs, errors.New("gap: more than nothing"))
	}
	if s.URL != "" {
		errs = append(errs, loadgen.CheckURL(s.URL, schemes...))
	}
	return errors.Join(errs...)
}

// Lost is the error of a viewer whose patience ran out; why is what went wrong last, nil if nothing did.
func Lost(why error) error {
	if why == nil {
		why = loadgen.ErrPictureless
	}
	return fmt.Errorf("patience ran out: %w", why)
}

// House is all viewers of one worker.
type House struct {
	*Settings
	On     target.Platform
	M      *loadgen.Meter
	N      *Numbers
	Client *http.Client // for what all viewers ask the gateway
	watch  Watch

	mu       sync.Mutex
	watching map[*Session]struct{}
	denied   []denial
	wg       sync.WaitGroup
}

// Watch is one session of a viewer: it returns nil when ctx ends, which is when the viewer had planned to leave, and an error when the
// viewer gave up.
type Watch func(ctx context.Context, s *Session) error

// Session is one viewer's time before the player.
type Session struct {
	*Player
	way
	truth   truth
	House   *House
	Channel string
	Began   time.Time
	Rand    *rand.Rand

	place            place
	seen             bool          // the first picture is out
	watched, stalled time.Duration // what is counted already; guarded by House.mu
	stalls           int
}

// denial is what is left of the plan of a viewer who gave up: it was asked for, and passes without a picture.
type denial struct{ counted, until time.Time }

// Fill seats the viewers and lets newcomers in, until the load's plan or ctx ends. protocol names the numbers.
func (s *Settings) Fill(ctx context.Context, on target.Platform, m *loadgen.Meter, protocol string, watch func(*House) Watch) error {
	ctx, cancel := context.WithDeadline(ctx, m.End())
	defer cancel()
	h := &House{Settings: s, On: on, M: m, N: newNumbers(m, protocol), watching: map[*Session]struct{}{},
		Client: &http.Client{CheckRedirect: loadgen.Stay, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	h.watch = watch(h)
	defer h.Client.CloseIdleConnections()
	rng := m.Rand()
	defer h.wg.Wait()
	for i := range s.Viewers {
		seat := seat{number: i, rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))}
		if m.Slice.Mine(i, s.Viewers) {
			h.wg.Go(func() { h.fill(ctx, seat) })
		}
	}
	h.wg.Go(func() { h.account(ctx) })
	if !s.Newcomers.IsZero() {
		const cycle = 100 // newcomers are cut over the regions in turns of this many
		m.Arrivals(ctx, s.Newcomers, func(n uint64, _ time.Time) bool {
			seat := seat{number: int(n % 1e9), rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))}
			if !m.Slice.Mine(int(n*37%cycle), cycle) {
				return false
			}
			h.wg.Go(func() { _ = h.sit(ctx, seat) }) // what became of it is counted
			return true
		})
	}
	return nil
}

// seat is a place in the house, filled by one viewer after another.
type seat struct {
	number int
	rng    *rand.Rand
}

// fill seats one viewer after another until ctx ends.
func (h *House) fill(ctx context.Context, s seat) {
	// The house fills within the first three seconds.
	due := h.M.Start.Add(time.Duration(s.rng.Float64() * 3 * float64(time.Second)))
	for target.Wait(ctx, time.Until(due)) {
		h.M.Offered.Inc()
		h.M.Carried(due, time.Now())
		err := h.sit(ctx, s)
		if due = time.Now(); err != nil {
			due = due.Add(500 * time.Millisecond)
		}
	}
}

// sit is one viewer, from coming to leaving.
func (h *House) sit(ctx context.Context, s seat) error {
	stay := time.Duration((0.5 + s.rng.Float64()) * float64(h.Stay))
	now := time.Now()
	v := &Session{House: h, Channel: fmt.Sprintf("%s-%d", h.Channels, s.number%h.Streams), Began: now, Rand: s.rng,
		Player: &Player{started: now, at: now, minStall: time.Duration(h.Stall)}}
	h.mu.Lock()
	h.watching[v] = struct{}{}
	h.mu.Unlock()
	h.N.begun.Inc()
	planned, cancel := context.WithTimeout(ctx, stay)
	stop := context.AfterFunc(planned, func() { h.leave(v) }) // a goodbye that takes time is no time of watching
	err := h.watch(planned, v)
	stop()
	cancel()
	if err != nil {
		h.N.dropped.Inc()
		h.M.Failed.Count(err)
		h.deny(time.Now(), now.Add(stay))
	}
	if !v.seen && ctx.Err() == nil { // whatever ended the session: it never had a picture
		h.N.starts["failed"].Inc()
		if err == nil {
			h.M.Failed[loadgen.Pictureless].Inc()
		}
	}
	h.leave(v)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.N.ended.Inc(); v.stalls > 0 {
		h.N.hurt.Inc()
	}
	return err
}

// leave settles a viewer's account, once.
func (h *House) leave(v *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, here := h.watching[v]; here {
		h.count(v, time.Now())
		delete(h.watching, v)
	}
}

// Arrived puts media into the player's buffer; what comes first is the first picture.
func (v *Session) Arrived(now time.Time, media time.Duration) {
	v.Arrive(now, media)
	if v.seen {
		return
	}
	v.seen = true
	took := now.Sub(v.Began)
	v.House.N.First.Observe(took.Seconds())
	v.arrive(v.Began, now, v.House.N.phases)
	if took <= fastStart {
		v.House.N.starts["fast"].Inc()
	} else {
		v.House.N.starts["slow"].Inc()
	}
}

// fastStart is the limit in the definition of fast_start_ratio.
const fastStart = time.Second

// account keeps the sums of watched and stalled time up to date, so that they are right at any boundary of the run.
func (h *House) account(ctx context.Context) {
	for target.Wait(ctx, 100*time.Millisecond) {
		now := time.Now()
		h.mu.Lock()
		for v := range h.watching {
			h.count(v, now)
		}
		h.pass(now)
		h.mu.Unlock()
	}
}

// deny begins to count what is left of a plan.
func (h *House) deny(now, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.denied = append(h.denied, denial{now, until})
}

// pass counts what has passed of the plans of those who gave up. h.mu is held.
func (h *House) pass(now time.Time) {
	h.denied = slices.DeleteFunc(h.denied, func(d denial) bool { return !d.until.After(d.counted) })
	for i := range h.denied {
		d := &h.denied[i]
		to := now
		if to.After(d.until) {
			to = d.until
		}
		h.N.denied.Add(int64(to.Sub(d.counted)))
		d.counted = to
	}
}

// count adds what is new in a viewer's account. h.mu is held.
func (h *House) count(v *Session, now time.Time) {
	watched, stalled, stalls := v.totals(now)
	h.N.watched.Add(int64(watched - v.watched))
	h.N.stalled.Add(int64(stalled - v.stalled))
	h.N.stalls.Add(float64(stalls - v.stalls))
	v.watched, v.stalled, v.stalls = watched, stalled, stalls
}
