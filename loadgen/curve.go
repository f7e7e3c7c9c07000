package loadgen

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/livedrill/livedrill/target/unit"
)

// Curve is a rate over time in straight pieces, made ready to tell for every arrival when exactly it is due. It is a
// vegeta.Pacer. Curves of a sine or a half-life are chords of it.
type Curve struct {
	knots  []knot
	before []float64 // arrivals up to each knot
	period float64   // seconds after which it begins anew; 0: the last rate stays
	cycle  float64   // arrivals in a period
	text   string
}

var _ vegeta.Pacer = Curve{}

// knot is a rate at a time, in seconds. Two at the same time are a jump.
type knot struct{ at, rate float64 }

// chords is how many straight pieces stand for one wave or one half-life.
const chords = 32

// Curve is what the shape means. The shape must be valid; one that is not never sends.
func (s Shape) Curve() Curve {
	f, err := s.form()
	if err != nil {
		return newCurve([]knot{{}}, 0, "")
	}
	whole := s.whole(f)
	period := 0.0
	if f.again != nil {
		period = f.again(whole).Seconds()
	}
	return newCurve(f.knots(whole), period, s.String())
}

func newCurve(knots []knot, period float64, text string) Curve {
	if len(knots) == 0 {
		knots = []knot{{}}
	}
	if knots[0].at > 0 { // a trace that begins later is at its first rate before
		knots = append([]knot{{0, knots[0].rate}}, knots...)
	}
	if last := knots[len(knots)-1]; period > last.at {
		knots = append(knots, knot{period, last.rate})
	}
	c := Curve{knots: knots, before: make([]float64, len(knots)), period: period, text: text}
	for i := 1; i < len(knots); i++ {
		c.before[i] = c.before[i-1] + (knots[i].at-knots[i-1].at)*(knots[i].rate+knots[i-1].rate)/2
	}
	c.cycle = c.before[len(knots)-1]
	return c
}

func ramp(s Shape) []knot {
	return []knot{{0, float64(s.From)}, {s.Over.Seconds(), float64(s.To)}}
}

func steps(s Shape) []knot {
	var out []knot
	for i := range s.Steps + 1 {
		rate := float64(s.From) + float64(s.To-s.From)*float64(i)/float64(max(1, s.Steps))
		at := float64(i) * s.Hold.Seconds()
		out = append(out, knot{at, rate})
		if i < s.Steps {
			out = append(out, knot{at + s.Hold.Seconds(), rate})
		}
	}
	return out
}

func spike(s Shape) []knot {
	at, over, hold := s.At.Seconds(), s.Over.Seconds(), s.Hold.Seconds()
	from, to := float64(s.From), float64(s.To)
	return []knot{{0, from}, {at, from}, {at + over, to}, {at + over + hold, to}, {at + 2*over + hold, from}}
}

func burst(s Shape) []knot {
	rest := s.Every.Seconds() - s.Hold.Seconds()
	return []knot{{0, float64(s.From)}, {rest, float64(s.From)}, {rest, float64(s.To)}, {s.Every.Seconds(), float64(s.To)}}
}

func wave(s Shape) []knot {
	out := make([]knot, chords+1)
	for i := range out {
		turn := float64(i) / chords
		out[i] = knot{turn * s.Every.Seconds(), float64(s.From) + float64(s.To-s.From)*(1-math.Cos(2*math.Pi*turn))/2}
	}
	return out
}

// surge goes up to the peak from a moment on, and then halves its height with every Hold, eight times.
func surge(s Shape, at float64) []knot {
	out := []knot{{at, float64(s.From)}}
	for i := 0; i <= 8*4; i++ {
		halvings := float64(i) / 4
		out = append(out, knot{at + s.Over.Seconds() + halvings*s.Hold.Seconds(),
			float64(s.From) + float64(s.To-s.From)*math.Exp2(-halvings)})
	}
	return append(out, knot{out[len(out)-1].at + s.Hold.Seconds(), float64(s.From)})
}

// goals are when they fall, as parts of a match.
var goals = []float64{0.11, 0.34, 0.42, 0.71, 0.93}

func match(s Shape) []knot {
	out := []knot{{0, float64(s.From)}}
	end := s.Every.Seconds()
	for i, goal := range goals {
		next := end
		if i+1 < len(goals) {
			next = goals[i+1] * end
		}
		for _, k := range surge(s, goal*end) {
			if k.at < next { // the next goal ends this one's joy
				out = append(out, k)
			}
		}
	}
	return out
}

// Due is when arrival n, from 0, is due. Arrivals stand in the middle of their share of time, so that two segments of a
// load do not both begin at its very start.
func (c Curve) Due(n uint64) time.Duration {
	k, turns := float64(n)+0.5, 0.0
	if c.period > 0 {
		if c.cycle <= 0 {
			return math.MaxInt64
		}
		turns = math.Floor(k / c.cycle)
		k -= turns * c.cycle
	}
	i := sort.Search(len(c.before), func(i int) bool { return c.before[i] > k }) - 1
	from := c.knots[i]
	k -= c.before[i]
	at := from.at
	if i == len(c.knots)-1 { // the last rate stays
		if from.rate <= 0 {
			return math.MaxInt64
		}
		return seconds(at + k/from.rate)
	}
	to := c.knots[i+1]
	slope := (to.rate - from.rate) / (to.at - from.at)
	// k = rate·t + slope·t²/2, solved for t in the form that does not cancel.
	root := math.Sqrt(max(0, from.rate*from.rate+2*slope*k))
	if from.rate+root <= 0 { // k is 0 at the start of a climb from nothing
		return seconds(turns*c.period + at)
	}
	return seconds(turns*c.period + at + 2*k/(from.rate+root))
}

// Count is how many arrivals are due up to a time.
func (c Curve) Count(t time.Duration) uint64 { return uint64(c.Arrivals(t) + 0.5) }

// Arrivals is how much of the curve lies before a time, in arrivals and parts of one.
func (c Curve) Arrivals(t time.Duration) float64 {
	if t <= 0 {
		return 0
	}
	at, turns := t.Seconds(), 0.0
	if c.period > 0 {
		turns = math.Floor(at / c.period)
		at -= turns * c.period
	}
	i := sort.Search(len(c.knots), func(i int) bool { return c.knots[i].at > at }) - 1
	from, step := c.knots[i], at-c.knots[i].at
	return turns*c.cycle + c.before[i] + step*(from.rate+c.rate(i, step))/2
}

// rate is the rate a number of seconds after knot i.
func (c Curve) rate(i int, step float64) float64 {
	from := c.knots[i]
	if i == len(c.knots)-1 {
		return from.rate
	}
	to := c.knots[i+1]
	return from.rate + (to.rate-from.rate)*step/(to.at-from.at)
}

// Pace is part of vegeta.Pacer.
func (c Curve) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	return max(0, c.Due(hits)-elapsed), false
}

// Rate is part of vegeta.Pacer.
func (c Curve) Rate(elapsed time.Duration) float64 {
	at := max(0, elapsed.Seconds())
	if c.period > 0 {
		at = math.Mod(at, c.period)
	}
	i := sort.Search(len(c.knots), func(i int) bool { return c.knots[i].at > at }) - 1
	return c.rate(i, at-c.knots[i].at)
}

// Peak is the highest rate.
func (c Curve) Peak() (peak float64) {
	for _, k := range c.knots {
		peak = max(peak, k.rate)
	}
	return peak
}

func (c Curve) String() string { return c.text }

func seconds(s float64) time.Duration {
	if s > math.MaxInt64/1e9 {
		return math.MaxInt64
	}
	return time.Duration(s * 1e9)
}

// maxPoints bounds a trace.
const maxPoints = 100_000

// parseTrace reads "seconds,rate" lines; empty ones and those that begin with # are passed over.
func parseTrace(r io.Reader) ([]Point, error) {
	var out []Point
	in := bufio.NewScanner(r)
	for number := 1; in.Scan(); number++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		left, right, _ := strings.Cut(line, ",")
		at, err := strconv.ParseFloat(strings.TrimSpace(left), 64)
		if err != nil || !(at >= 0 && at <= 86400) {
			return nil, fmt.Errorf("line %d: %q is no time in seconds up to a day", number, left)
		}
		rate, err := strconv.ParseFloat(strings.TrimSpace(right), 64)
		if err != nil || !(rate >= 0 && rate <= maxRate) {
			return nil, fmt.Errorf("line %d: %q is no rate up to a million a second", number, right)
		}
		p := Point{unit.Duration(at * 1e9), unit.Rate(rate)}
		if len(out) > 0 && p.At < out[len(out)-1].At {
			return nil, fmt.Errorf("line %d: %q is before the line above", number, left)
		}
		if out = append(out, p); len(out) > maxPoints {
			return nil, fmt.Errorf("line %d: more than %d points", number, maxPoints)
		}
	}
	return out, in.Err()
}
