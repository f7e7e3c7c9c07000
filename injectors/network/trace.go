package network

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// RateTrace lets a link's width swing as a mobile carrier's does: along a trace from a file, or along a seeded walk between
// levels. A trace that is over begins again.
type RateTrace struct {
	injectors.Drawn
	File string        `json:"file" help:"CSV of seconds for which it lasts,bits-per-second; or a 4G log of six columns (time ms, elapsed ms, lat, lon, bytes, ms); empty: a seeded walk"`
	From unit.Bitrate  `json:"from" unit:"bits per second" help:"narrowest level of the walk"`
	To   unit.Bitrate  `json:"to" unit:"bits per second" help:"widest level of the walk"`
	Step unit.Duration `json:"step" help:"mean time on one level of the walk"`

	Direction Direction `json:"direction" help:"both, to (the component) or from"`

	trace []level
	begun time.Time
}

// level is a width that a link has for a time.
type level struct {
	rate unit.Bitrate
	time time.Duration
}

const (
	narrowest = 100e3
	widest    = 50e6
	maxLevels = 100_000
)

// Validate finds settings that cannot work.
func (f *RateTrace) Validate() error {
	var errs []error
	if f.From < narrowest || f.To > widest || f.From > f.To {
		errs = append(errs, fmt.Errorf("from: %s to %s is not a range within 100k and 50M", f.From, f.To))
	}
	if time.Duration(f.Step) < 500*time.Millisecond || time.Duration(f.Step) > time.Minute {
		errs = append(errs, fmt.Errorf("step: %s is not between 500ms and 1m", f.Step))
	}
	if f.File != "" {
		if _, err := readTrace(f.File); err != nil {
			errs = append(errs, fmt.Errorf("file: %s: %w", f.File, err))
		}
	}
	return errors.Join(errs...)
}

// levels is the trace of the file, or a minute of the walk: a Markov chain over five levels between From and To, evenly far
// apart as factors, that goes one up or down.
func (f *RateTrace) levels() ([]level, error) {
	if f.File != "" {
		return readTrace(f.File)
	}
	rng := rand.New(rand.NewPCG(f.Seed, 0x7472616365))
	const steps = 4
	at, out := rng.IntN(steps+1), []level{}
	for total := time.Duration(0); total < time.Minute; {
		rate := float64(f.From) * math.Pow(float64(f.To)/float64(f.From), float64(at)/steps)
		stay := max(time.Duration(rng.ExpFloat64()*float64(f.Step)), 200*time.Millisecond)
		out = append(out, level{unit.Bitrate(rate), stay})
		total += stay
		if up := rng.IntN(2) == 0; up && at < steps || at == 0 {
			at++
		} else {
			at--
		}
	}
	return out, nil
}

// readTrace reads a trace file of either form. Levels outside of what a link here can have are brought to its bounds.
func readTrace(path string) ([]level, error) {
	text, err := unit.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseTrace(bytes.NewReader(text))
}

func parseTrace(in io.Reader) ([]level, error) {
	var out []level
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		fields := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == ';' })
		values := make([]float64, len(fields))
		for i, field := range fields {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil || v != v {
				return nil, fmt.Errorf("line %d: %.20q is no number", n, field)
			}
			values[i] = v
		}
		var seconds, rate float64
		switch len(values) {
		case 2:
			seconds, rate = values[0], values[1]
		case 6: // bytes received since the line before, and the milliseconds that this took
			seconds, rate = values[5]/1000, values[4]*8/(values[5]/1000)
		default:
			return nil, fmt.Errorf("line %d: has %d columns, not 2 or 6", n, len(values))
		}
		if !(seconds >= 0.01 && seconds <= 3600) {
			return nil, fmt.Errorf("line %d: %g seconds are not between 0.01 and 3600", n, seconds)
		}
		if len(out) == maxLevels {
			return nil, fmt.Errorf("line %d: a trace has at most %d lines", n, maxLevels)
		}
		out = append(out, level{unit.Bitrate(min(max(rate, narrowest), widest)), time.Duration(seconds * float64(time.Second))})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("it has no line with a rate")
	}
	return out, nil
}

// BackEnd is part of injectors.BackEnded.
func (*RateTrace) BackEnd() string { return "tbf" }

// Check is part of injectors.Fault.
func (f *RateTrace) Check(ctx context.Context, on target.Component) error {
	return (&Rate{Direction: f.Direction}).Check(ctx, on)
}

// Save is part of injectors.Fault.
func (f *RateTrace) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return (&Rate{Direction: f.Direction}).Save(ctx, on)
}

func (*RateTrace) name(on target.Component) string {
	return "rate trace " + on.Handles.Network.Namespace
}

// Inject is part of injectors.Fault. The link has the trace's first level when it returns.
func (f *RateTrace) Inject(ctx context.Context, on target.Component) error {
	var err error
	if f.trace, err = f.levels(); err != nil {
		return err
	}
	trace, way := f.trace, f.Direction
	if err := limit(on.Handles.Network, way, trace[0].rate); err != nil {
		return err
	}
	f.begun = time.Now()
	err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
		next := time.Now()
		for i := 0; ; i++ {
			if next = next.Add(trace[i%len(trace)].time); !target.Wait(ctx, time.Until(next)) {
				return
			}
			_ = limit(on.Handles.Network, way, trace[(i+1)%len(trace)].rate) // the effect tells whether it worked
		}
	})
	if err != nil {
		return errors.Join(err, unlimit(on.Handles.Network))
	}
	return nil
}

// between is the mean width of the trace over a time.
func (f *RateTrace) between(from, to time.Duration) float64 {
	bits, at := 0.0, time.Duration(0)
	for i := 0; at < to; i++ {
		l := f.trace[i%len(f.trace)]
		if part := min(at+l.time, to) - max(at, from); part > 0 {
			bits += float64(l.rate) * part.Seconds()
		}
		at += l.time
	}
	return bits / (to - from).Seconds()
}

// Effect offers more than the trace lets through and compares what passes with the trace's mean over that time.
func (f *RateTrace) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	if !injectors.Begun(f.name(on)) {
		widest := f.To
		for _, l := range f.trace {
			widest = max(widest, l.rate)
		}
		m, _, err := rateEffect(ctx, on, f.Direction, float64(widest), time.Second)
		return m, err
	}
	const over = 2 * time.Second
	from := time.Since(f.begun)
	expected := f.between(from, from+over)
	m, _, err := rateEffect(ctx, on, f.Direction, expected, over)
	if err == nil && m.Bites {
		m.Reason = "the link follows its trace"
	}
	return m, err
}

// Restore is part of injectors.Fault.
func (f *RateTrace) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	injectors.End(f.name(on))
	return new(Rate).Restore(ctx, on, was)
}
