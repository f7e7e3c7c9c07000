// Package danmaku talks in rooms over WebSocket, open loop, and proves every delivery: each message that the platform
// accepted is owed to every member of its room, once and in order.
package danmaku

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target/unit"
)

// Rooms say how the members are spread.
type Rooms struct {
	Count   int        `json:"count" help:"number of rooms"`
	Hottest unit.Ratio `json:"hottest" help:"share of members in the hottest room; the others follow Zipf's law"`
	Size    int        `json:"size" help:"members of every room; 0: spread by count and hottest"`
}

// Load is members of rooms who talk.
type Load struct {
	Connections int           `json:"connections" help:"members at once"`
	Rate        loadgen.Shape `json:"rate" help:"messages of all members together"`
	Rooms       Rooms         `json:"rooms" help:"how members are spread"`
	Size        int           `json:"size" help:"length of a message's text in bytes"`
	URL         string        `json:"url" help:"WebSocket address of a server of one's own on loopback that speaks our lines; empty: the platform's"`
}

// Default is 100 members who say 100 things a second.
func Default() loadgen.Generator {
	return &Load{Connections: 100, Rate: loadgen.Constant(100), Rooms: Rooms{Count: 10, Hottest: 0.8}, Size: 40}
}

// Validate finds settings that cannot work.
func (l *Load) Validate() error {
	errs := []error{l.Rate.Validate()}
	if l.Connections < 1 || l.Connections > 50_000 {
		errs = append(errs, fmt.Errorf("connections: %d is not between 1 and 50000", l.Connections))
	}
	switch {
	case l.Rooms.Size < 0 || l.Rooms.Size > l.Connections:
		errs = append(errs, fmt.Errorf("rooms: a room of %d for %d members", l.Rooms.Size, l.Connections))
	case l.Rooms.Size == 0 && (l.Rooms.Count < 1 || l.Rooms.Count > l.Connections):
		errs = append(errs, fmt.Errorf("rooms: %d rooms for %d members", l.Rooms.Count, l.Connections))
	}
	if largest := max(float64(l.Rooms.Size), float64(l.Rooms.Hottest)*float64(l.Connections)); largest*largest*8 > 2<<30 {
		errs = append(errs, fmt.Errorf("rooms: to check every delivery in a room of %.0f takes more than 2 GiB: spread the members over more rooms", largest))
	}
	if l.URL != "" {
		errs = append(errs, loadgen.CheckURL(l.URL, "ws"))
	}
	if l.Size < 1 || l.Size > 512 {
		errs = append(errs, fmt.Errorf("size: %d is not between 1 and 512", l.Size))
	}
	return errors.Join(errs...)
}

// plan gives every member a room and a place in it, and every room its size, the same in every worker.
func (l *Load) plan(rng *rand.Rand) (roomOf, placeOf, size []int) {
	order := rng.Perm(l.Connections) // so that every region has members in every large room
	if l.Rooms.Size > 0 {
		rooms := (l.Connections + l.Rooms.Size - 1) / l.Rooms.Size
		return l.place(order, rooms, func(place int) int { return place / l.Rooms.Size })
	}
	hot := int(math.Round(float64(l.Rooms.Hottest) * float64(l.Connections)))
	weights, sum := make([]float64, l.Rooms.Count), 0.0
	for r := 1; r < l.Rooms.Count; r++ {
		weights[r] = 1 / float64(r)
		sum += weights[r]
	}
	return l.place(order, l.Rooms.Count, func(place int) int {
		room := 0
		if place >= hot && sum > 0 {
			x := rng.Float64() * sum
			for room = 1; room < l.Rooms.Count-1 && x > weights[room]; room++ {
				x -= weights[room]
			}
		}
		return room
	})
}

// place seats members in an order, each in the room that is found for it.
func (l *Load) place(order []int, rooms int, find func(place int) int) (roomOf, placeOf, size []int) {
	roomOf, placeOf, size = make([]int, l.Connections), make([]int, l.Connections), make([]int, rooms)
	for place, i := range order {
		room := find(place)
		roomOf[i], placeOf[i] = room, size[room]
		size[room]++
	}
	return roomOf, placeOf, size
}

type numbers struct {
	published                            map[string]prometheus.Counter
	owed, delivered, duplicate, disorder atomic.Uint64
	due, sent, foreign, good, bad        prometheus.Counter
	inFlight                             atomic.Int64
	ack, delivery                        *record.Histogram
	begun, dropped                       prometheus.Counter
	roomDue, roomAccepted                []prometheus.Counter // by room, the last for all rooms beyond
}

const judged = "Messages by whether they were acknowledged within 2 s of when they were due, counted as soon as that is known."

// overdue is how long a message may wait for its answer.
const overdue = 2 * time.Second

// namedRooms is how many rooms are counted apart; the others are together.
const namedRooms = 20

func (n *numbers) room(counters []prometheus.Counter, room int) prometheus.Counter {
	return counters[min(room, len(counters)-1)]
}

func newNumbers(m *loadgen.Meter, rooms int) *numbers {
	n := &numbers{published: map[string]prometheus.Counter{},
		due:      m.Counter("livedrill_danmaku_due_total", "Messages that were due.", m.Labels()),
		sent:     m.Counter("livedrill_danmaku_written_total", "Messages that went out.", m.Labels()),
		good:     m.Counter("livedrill_danmaku_judged_total", judged, m.Labels("result", "good")),
		bad:      m.Counter("livedrill_danmaku_judged_total", judged, m.Labels("result", "bad")),
		foreign:  m.Counter("livedrill_danmaku_malformed_total", "Lines from the server that nobody could read.", m.Labels()),
		ack:      m.Histogram("livedrill_danmaku_ack_seconds", "From the intended send time to the acknowledgement.", m.Labels()),
		delivery: m.Histogram("livedrill_danmaku_delivery_seconds", "From the intended send time to a member.", m.Labels()),
		begun:    m.Counter("livedrill_sessions_begun_total", "Sessions that began.", m.Labels("role", "member")),
		dropped:  m.Counter("livedrill_sessions_dropped_total", "Sessions ended by anything but their own plan.", m.Labels("role", "member")),
	}
	for _, r := range []string{"accepted", "rejected", "unsent", "cut", "unanswered"} {
		n.published[r] = m.Counter("livedrill_danmaku_published_total", "Messages by what became of them: cut with their connection, or unanswered when a thousand later ones were out.", m.Labels("result", r))
	}
	m.GaugeFunc("livedrill_danmaku_in_flight", "Messages that went out and have no answer yet.", m.Labels(),
		func() float64 { return float64(n.inFlight.Load()) })
	for room := range min(rooms, namedRooms+1) {
		label := fmt.Sprintf("room-%d", room)
		if room == namedRooms {
			label = "others"
		}
		n.roomDue = append(n.roomDue, m.Counter("livedrill_danmaku_room_due_total", "Messages that were due, by room.", m.Labels("room", label)))
		n.roomAccepted = append(n.roomAccepted, m.Counter("livedrill_danmaku_room_accepted_total", "Messages acknowledged, by room.", m.Labels("room", label)))
	}
	for _, c := range []struct {
		name, help string
		v          *atomic.Uint64
	}{
		{"livedrill_danmaku_owed_total", "Deliveries owed: accepted messages times members of the room then.", &n.owed},
		{"livedrill_danmaku_delivered_total", "Deliveries seen, each once.", &n.delivered},
		{"livedrill_danmaku_duplicates_total", "Deliveries seen again.", &n.duplicate},
		{"livedrill_danmaku_disorder_total", "Deliveries seen after a later one of the same sender.", &n.disorder},
	} {
		m.CounterFunc(c.name, c.help, m.Labels(), func() float64 { return float64(c.v.Load()) })
	}
	return n
}
