package scenarios

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/livedrill/livedrill/target/unit"
)

// Surprise is what the faults of a drill were drawn from, when the scenario leaves it to chance: real life has more failing links
// than failing cards, and nobody knows the day.
type Surprise struct {
	Weights []float64 // as they are written: those of a study need not make 100
	Of      []Fault
	Drawn   int // how many; they are the last of the scenario's faults
}

// surpriseForm is a surprise as it is written.
type surpriseForm struct {
	Faults int           `json:"faults" help:"how many are drawn"`
	Over   unit.Duration `json:"over" help:"the time that they are spread over, one in each part of it"`
	Of     later         `json:"of"`
}

// mostDrawn bounds the faults of a surprise.
const mostDrawn = 1000

// surprise reads what may happen, and draws what does by the scenario's seed: faults d1, d2, ... that begin after the scenario's own and
// never overlap.
func (d *decoder) surprise(n *yaml.Node, own Scenario) (Surprise, []Fault) {
	if n == nil {
		return Surprise{}, nil
	}
	list, rest := split(n, "of")
	form := surpriseForm{Faults: 3, Over: unit.Duration(90 * time.Second)}
	d.decode(rest, reflect.ValueOf(&form).Elem(), "surprise")
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		d.problem(n, "surprise.of", "is no list of faults with a weight each")
		return Surprise{}, nil
	}
	if form.Faults < 1 || form.Faults > mostDrawn {
		d.problem(n, "surprise.faults", "%d is not between 1 and %d", form.Faults, mostDrawn)
		return Surprise{}, nil
	}
	if form.Over > unit.Duration(24*time.Hour) {
		d.problem(n, "surprise.over", "%s is longer than a day", form.Over)
	}
	before := len(d.problems)
	var s Surprise
	sum := 0.0
	part := time.Duration(form.Over) / time.Duration(form.Faults)
	read := func(i int, id string) Fault {
		_, item := split(list.Content[i], "weight")
		f, _ := d.fault(item, fmt.Sprintf("surprise.of[%d]", i), id)
		return f
	}
	for i, item := range list.Content {
		at := fmt.Sprintf("surprise.of[%d]", i)
		weight := 1.0
		if w, _ := split(item, "weight"); w != nil {
			d.decode(w, reflect.ValueOf(&weight).Elem(), at+".weight")
		}
		if !(weight > 0 && weight <= 1e6) {
			d.problem(item, at, "weight: %g is not above 0, and at most 1000000", weight)
		}
		f := read(i, "d1")
		if f.ID != "d1" || f.At != 0 {
			d.problem(item, at, "its id and when it begins are left to chance: it has neither id nor at")
		}
		if f.For+proofTime > part {
			d.problem(item, at, "for: %d faults within %s leave %s for each, and this one needs %s", form.Faults, form.Over, part.Round(time.Second), f.For+proofTime)
		}
		s.Of, s.Weights, sum = append(s.Of, f), append(s.Weights, weight), sum+weight
	}
	if len(d.problems) > before {
		return s, nil
	}
	var drawn []Fault
	rng := rand.New(rand.NewPCG(own.Seed, 0x7375727072697365))
	for k := range form.Faults {
		f := read(s.draw(rng, sum), fmt.Sprintf("d%d", k+1)) // a fault of its own, though its kind may be drawn twice
		f.At = own.FaultTime() + time.Duration(k)*part + time.Duration(rng.Int64N(int64(part-f.For-proofTime)+1)).Truncate(100*time.Millisecond)
		if slices.ContainsFunc(own.Faults, func(x Fault) bool { return x.ID == f.ID }) {
			d.problem(n, "surprise", "a fault of the scenario's own is called %s, as one that is drawn", f.ID)
		}
		drawn = append(drawn, f)
	}
	s.Drawn = len(drawn)
	return s, drawn
}

// draw picks one by weight.
func (s Surprise) draw(rng *rand.Rand, sum float64) int {
	x := rng.Float64() * sum
	for i, w := range s.Weights {
		if x -= w; x < 0 {
			return i
		}
	}
	return len(s.Weights) - 1 // rounding
}

// String says with which chance each was drawn.
func (s Surprise) String() string {
	sum := 0.0
	for _, w := range s.Weights {
		sum += w
	}
	parts := make([]string, len(s.Of))
	for i, f := range s.Of {
		parts[i] = fmt.Sprintf("%s on %s %.3g%%", f.Kind, f.On, 100*s.Weights[i]/sum)
	}
	return fmt.Sprintf("%s (weights of %.6g in all, made 100%%)", strings.Join(parts, ", "), sum)
}
