package danmaku

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/poll"
)

// house is all members of one worker. One thread keeps the pace for them, writes and reads; goroutines of their own only connect them.
type house struct {
	*Load
	on      target.Platform
	m       *loadgen.Meter
	n       *numbers
	client  *http.Client
	poll    *poll.Poller
	open    context.Context // ends when everybody leaves
	door    chan *member    // who want to be connected; each is there once at most
	doormen sync.WaitGroup
	members []*member // nil: another worker's
	roomOf  []int     // of each member
	place   []int     // of each member in its room
	size    []int     // of each room
	away    []int     // members of this worker who are not connected now, by room
	text    []byte
	rng     *rand.Rand // of the whole load
	masks   *rand.Rand
	line    []byte
	frame   []byte
}

// address is where a member connects to, as the platform's dispatch says.
func (h *house) address(ctx context.Context, query string) (string, error) {
	if h.URL != "" {
		return h.URL + "?" + query, nil
	}
	assigned, err := loadgen.Dispatch(ctx, h.client, h.on, h.m.Region)
	if err != nil {
		return "", err
	}
	return loadgen.URL(h.on, assigned.Danmaku, "ws", "/ws?"+query)
}

// Run is part of loadgen.Generator.
func (l *Load) Run(ctx context.Context, on target.Platform, m *loadgen.Meter) error {
	h := &house{Load: l, on: on, m: m, text: make([]byte, l.Size), rng: m.Rand(), masks: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}, door: make(chan *member, l.Connections), members: make([]*member, l.Connections)}
	defer h.client.CloseIdleConnections()
	h.roomOf, h.place, h.size = l.plan(h.rng)
	h.n, h.away = newNumbers(m, len(h.size)), make([]int, len(h.size))
	for i := range h.text {
		h.text[i] = 'a' + byte(i%26)
	}
	var err error
	if h.poll, err = poll.New(); err != nil {
		return err
	}
	var leave func()
	h.open, leave = context.WithCancel(ctx)
	defer leave()
	stop := h.poll.Heed(ctx)
	defer stop()
	for i := range h.members {
		if m.Slice.Mine(i, l.Connections) {
			h.members[i] = &member{house: h, number: i, room: h.roomOf[i], why: loadgen.Unanswered, pause: firstPause, seen: newLedger(h.size[h.roomOf[i]])}
			h.away[h.roomOf[i]]++
			h.door <- h.members[i]
		}
	}
	for range atOnce {
		h.doormen.Go(h.connect)
	}
	loadgen.Promptly(func() { err = h.turn() })
	h.each(func(m *member) { m.bye() })
	leave()
	h.doormen.Wait()
	return errors.Join(err, h.poll.Close())
}

// connect connects members, one at a time, until the house closes.
func (h *house) connect() {
	for h.open.Err() == nil {
		select {
		case m := <-h.door:
			m.join(h.open)
		case <-h.open.Done():
		}
	}
}

func (h *house) each(do func(*member)) {
	for _, m := range h.members {
		if m != nil {
			do(m)
		}
	}
}

const (
	atOnce    = 64                      // members are connected
	settle    = 1500 * time.Millisecond // deliveries may still come so long after the last message
	pingEvery = 20 * time.Second        // keeps a member who only listens in its room
	pingTurns = 40                      // a few members at a time
)

// turn goes round until the plan is over and the last deliveries had their time.
func (h *house) turn() error {
	walk := h.m.Walk(h.Rate)
	var end time.Time
	look, pings, part := time.Now(), time.Now(), 0
	for h.open.Err() == nil {
		now := time.Now()
		next, more := h.say(walk, now)
		if !more {
			if end.IsZero() {
				end = now.Add(settle)
			}
			if next = end; !now.Before(end) {
				return nil
			}
		}
		if now.After(look) {
			look = now.Add(overdue / 8)
			h.each(func(m *member) { m.expire(now.Add(-overdue)) })
		}
		if now.After(pings) {
			pings, part = now.Add(pingEvery/pingTurns), (part+1)%pingTurns
			for i := part; i < len(h.members); i += pingTurns {
				if m := h.members[i]; m != nil {
					m.ping()
				}
			}
		}
		if err := h.poll.Turn(loadgen.Waking(now, next, look)); err != nil {
			return err
		}
	}
	return nil
}

// say lets members say what is due by now, and gives when the next of them does; more is false when nobody will.
func (h *house) say(walk *loadgen.Walk, now time.Time) (next time.Time, more bool) {
	for {
		_, due, ok := walk.Next()
		if !ok || due.After(now) {
			return due, ok
		}
		sender := h.members[h.rng.IntN(h.Connections)]
		if sender != nil {
			sender.publish(due)
			h.m.Carried(due, time.Now())
		}
		walk.Gone(sender != nil)
	}
}
