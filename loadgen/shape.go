package loadgen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livedrill/livedrill/target/unit"
)

// Shape is an arrival rate over time, as people write it: one rate ("500/s"), a rate and the name of a form with what is
// to be other than the form's own ("2000/s spike to=50000/s at=5s"), or the same as settings. Curve is what it means.
type Shape struct {
	Form  string        `json:"shape" help:"constant, ramp, steps, spike, bursts, wave, trace, flash-sale, celebrity or match; empty: a ramp where to is written"`
	From  unit.Rate     `json:"from" help:"rate at the start and at rest"`
	To    unit.Rate     `json:"to" help:"rate at the end or at the peak; 0: 25 times from, where a form has a peak"`
	At    unit.Duration `json:"at" help:"time before the change"`
	Over  unit.Duration `json:"over" help:"time that the change takes"`
	Hold  unit.Duration `json:"hold" help:"time at the peak, or on each step; half-life of what fades"`
	Every unit.Duration `json:"every" help:"from one burst, wave or match to the next"`
	Steps int           `json:"steps" help:"number of steps"`
	File  string        `json:"file" help:"trace: CSV of seconds,rate"`
	Trace []Point       `json:"trace" help:"the trace itself, where there is no file"`
}

// Point is a rate at a time of a trace.
type Point struct {
	At   unit.Duration `json:"at"`
	Rate unit.Rate     `json:"rate"`
}

// form is one way in which a rate can change over time.
type form struct {
	name  string
	usual Shape // what is not written
	peaks bool  // it needs a peak above From
	knots func(Shape) []knot
	again func(Shape) time.Duration // time after which it begins anew; nil: never
}

func every(s Shape) time.Duration { return time.Duration(s.Every) }

// forms lists every shape. Times are seconds.
var forms = []form{
	{name: "constant", knots: func(s Shape) []knot { return []knot{{0, float64(s.From)}} }},
	{name: "ramp", knots: ramp},
	{name: "steps", usual: Shape{Steps: 5, Hold: seconds10}, peaks: true, knots: steps},
	{name: "spike", usual: Shape{At: seconds5, Over: second, Hold: seconds10}, peaks: true, knots: spike},
	{name: "bursts", usual: Shape{Every: seconds10, Hold: second}, peaks: true, knots: burst, again: every},
	{name: "wave", usual: Shape{Every: minute}, peaks: true, knots: wave, again: every},
	{name: "trace", knots: func(s Shape) []knot {
		var out []knot
		for _, p := range s.Trace {
			out = append(out, knot{p.At.Seconds(), float64(p.Rate)})
		}
		return out
	}},
	// A sale opens: everybody at once, and a crowd that halves again and again.
	{name: "flash-sale", usual: Shape{At: seconds5, Over: second, Hold: seconds5}, peaks: true, knots: func(s Shape) []knot {
		return append([]knot{{0, float64(s.From)}}, surge(s, s.At.Seconds())...)
	}},
	// A celebrity goes live: a steep climb, a long plateau, a slow way down.
	{name: "celebrity", usual: Shape{At: seconds5, Over: seconds5, Hold: minute}, peaks: true, knots: func(s Shape) []knot {
		at, over, end := s.At.Seconds(), s.Over.Seconds(), s.At.Seconds()+s.Over.Seconds()+s.Hold.Seconds()
		return []knot{{0, float64(s.From)}, {at, float64(s.From)}, {at + over, float64(s.To)}, {end, float64(s.To)}, {end + 4*over, float64(s.From)}}
	}},
	// A match: the crowd surges at each goal, and goals do not come evenly.
	{name: "match", usual: Shape{Every: minute, Over: second, Hold: seconds2}, peaks: true, knots: match, again: every},
}

const (
	second    = unit.Duration(time.Second)
	seconds2  = 2 * second
	seconds5  = 5 * second
	seconds10 = 10 * second
	minute    = 60 * second
)

// usualPeak is the peak of a form when none is written, in multiples of the rate at rest: 2,000 become 50,000.
const usualPeak = 25

// Constant is a rate that does not change.
func Constant(r unit.Rate) Shape { return Shape{From: r} }

// UnmarshalText reads a shape from one line, onto the rate at rest that the setting has already.
func (s *Shape) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return errors.New("an empty text is no rate: write it as 500/s")
	}
	out := Shape{From: s.From}
	if c := words[0][0]; c < 'a' || c > 'z' {
		if err := out.From.UnmarshalText([]byte(words[0])); err != nil {
			return err
		}
		words = words[1:]
	}
	if len(words) > 0 && !strings.Contains(words[0], "=") {
		out.Form = words[0]
		words = words[1:]
	}
	for _, word := range words {
		if err := out.set(word); err != nil {
			return err
		}
	}
	*s = out
	return nil
}

// set reads one NAME=VALUE of the text form.
func (s *Shape) set(word string) (err error) {
	name, value, _ := strings.Cut(word, "=")
	switch name {
	case "to":
		err = s.To.UnmarshalText([]byte(value))
	case "at":
		err = s.At.UnmarshalText([]byte(value))
	case "over":
		err = s.Over.UnmarshalText([]byte(value))
	case "hold":
		err = s.Hold.UnmarshalText([]byte(value))
	case "every":
		err = s.Every.UnmarshalText([]byte(value))
	case "steps":
		s.Steps, err = strconv.Atoi(value)
	case "file":
		s.File = value
	default:
		err = fmt.Errorf("no setting %q of a shape: there are to, at, over, hold, every, steps and file", name)
	}
	return err
}

// UnmarshalJSON reads either form.
func (s *Shape) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		return s.UnmarshalText([]byte(text))
	}
	type fields Shape // without these methods
	return json.Unmarshal(data, (*fields)(s))
}

// form finds the shape's form.
func (s Shape) form() (form, error) {
	name := s.Form
	if name == "" {
		if name = "ramp"; s.From == s.To || s.To == 0 && s.Over == 0 {
			name = "constant"
		}
	}
	i := slices.IndexFunc(forms, func(f form) bool { return f.name == name })
	if i < 0 {
		var names []string
		for _, f := range forms {
			names = append(names, f.name)
		}
		return form{}, fmt.Errorf("rate: no shape %q: there are %s", name, strings.Join(names, ", "))
	}
	return forms[i], nil
}

// whole puts the form's own values where none are written.
func (s Shape) whole(f form) Shape {
	fill := func(d *unit.Duration, usual unit.Duration) {
		if *d == 0 {
			*d = usual
		}
	}
	fill(&s.At, f.usual.At)
	fill(&s.Over, f.usual.Over)
	fill(&s.Hold, f.usual.Hold)
	fill(&s.Every, f.usual.Every)
	if s.Steps == 0 {
		s.Steps = f.usual.Steps
	}
	if f.peaks && s.To == 0 {
		s.To = usualPeak * s.From
	}
	return s
}

// Read takes a trace in from its file, so that a worker elsewhere has it.
func (s *Shape) Read() error {
	if s.File == "" || len(s.Trace) > 0 {
		return nil
	}
	text, err := unit.ReadFile(s.File)
	if err != nil {
		return fmt.Errorf("rate: %w", err)
	}
	if s.Trace, err = parseTrace(bytes.NewReader(text)); err != nil {
		return fmt.Errorf("rate: %s: %w", s.File, err)
	}
	return nil
}

// maxRate bounds arrivals a second.
const maxRate = 1e6

// Validate refuses a shape that never sends, or that cannot be.
func (s *Shape) Validate() error {
	if err := s.Read(); err != nil {
		return err
	}
	f, err := s.form()
	if err != nil {
		return err
	}
	whole := s.whole(f)
	switch {
	case s.Form == "ramp" && s.Over == 0:
		return errors.New("rate: a ramp needs the time that it takes, as in over=10s")
	case f.name == "trace" && len(s.Trace) == 0:
		return errors.New("rate: a trace needs a file of seconds,rate")
	case f.again != nil && time.Duration(whole.Every) < 10*time.Millisecond:
		return fmt.Errorf("rate: every %s is below 10ms", whole.Every)
	case f.name == "bursts" && whole.Hold > whole.Every:
		return fmt.Errorf("rate: a burst of %s does not end within %s", whole.Hold, whole.Every)
	case whole.Steps < 0 || whole.Steps > 1000:
		return fmt.Errorf("rate: %d steps are not between 1 and 1000", whole.Steps)
	case f.peaks && whole.To < whole.From:
		return fmt.Errorf("rate: the peak of %s is below %s", whole.To, whole.From)
	}
	c := s.Curve()
	if peak := c.Peak(); c.Due(0) > 24*time.Hour {
		return errors.New("rate: 0 sends nothing: leave the load out instead")
	} else if peak > maxRate {
		return fmt.Errorf("rate: %s is more than a million a second", unit.Rate(peak))
	}
	return nil
}

// IsZero tells whether nothing was written at all.
func (s Shape) IsZero() bool { return s.Form == "" && s.From == 0 && s.To == 0 }

func (s Shape) String() string {
	f, err := s.form()
	if err != nil {
		return s.Form
	}
	s = s.whole(f)
	switch f.name {
	case "constant":
		return s.From.String()
	case "ramp":
		return fmt.Sprintf("%s to %s over %s", s.From, s.To, s.Over)
	case "trace":
		return fmt.Sprintf("trace of %d points", len(s.Trace))
	case "steps":
		return fmt.Sprintf("%s to %s in %d steps of %s", s.From, s.To, s.Steps, s.Hold)
	}
	if f.again != nil {
		return fmt.Sprintf("%s between %s and %s, every %s", f.name, s.From, s.To, s.Every)
	}
	return fmt.Sprintf("%s from %s to %s after %s, within %s", f.name, s.From, s.To, s.At, s.Over)
}
