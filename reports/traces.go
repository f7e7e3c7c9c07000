package reports

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/livedrill/livedrill/reports/traces"
)

// Trace is one request, or one picture on its way to a viewer, that shows where a fault was felt.
type Trace struct {
	Fault string      `json:"fault"`
	What  string      `json:"what"` // failed request, absorbed error, slowest request, slowest picture
	ID    string      `json:"trace_id"`
	Name  string      `json:"name"`
	From  float64     `json:"from_s"`
	Took  float64     `json:"took_s"`
	Hop   string      `json:"hop"`   // the component where it broke, or was held up most
	Why   string      `json:"why"`   // it broke, or how long it was held up above what is usual
	Alike int         `json:"alike"` // traces of this sort that name the same hop
	Of    int         `json:"of"`    // traces of this sort
	Spans []TraceSpan `json:"spans"`
}

// TraceSpan is one part of a trace.
type TraceSpan struct {
	Name   string  `json:"name"`
	Hop    string  `json:"hop"`
	Depth  int     `json:"depth"`
	From   float64 `json:"from_s"` // from the trace's own beginning
	To     float64 `json:"to_s"`
	Failed bool    `json:"failed"`
	Why    string  `json:"why,omitempty"`
}

// The sorts of traces that a report shows of a fault.
const (
	FailedRequest  = "failed request"
	AbsorbedError  = "absorbed error" // a part failed, and the request was answered all the same
	SlowestRequest = "slowest request"
	SlowestPicture = "slowest picture"
)

// felt is the least time above what is usual that says something.
const felt = 250 * time.Millisecond

// traces finds for every fault the requests and pictures that say where it was felt. What is usual is what the steady phase had.
func (j *judge) traces(_ context.Context, r *Result) error {
	spans := traces.Read(j.dir, j.traced(r.Faults))
	if len(spans) == traces.Most {
		j.Notes = append(j.Notes, fmt.Sprintf("of the traces only %d parts were read", traces.Most))
	}
	all := traces.Group(spans)
	between := func(from, to float64) (out []traces.Trace) {
		for _, t := range all {
			if at := j.since(t.First().From); at >= from && at < to {
				out = append(out, t)
			}
		}
		return out
	}
	var quiet []traces.Trace
	for _, p := range j.Phases {
		if p.Name == "steady" {
			quiet = between(p.From, p.To)
		}
	}
	usual := traces.UsualOf(quiet)
	for _, f := range r.Faults {
		if f.Injected == nil || f.Restored == nil {
			continue
		}
		sorts := map[string][]traces.Trace{}
		for _, t := range between(*f.Injected, *f.Restored) {
			_, broken := t.Broken()
			_, above := t.HeldUp(usual)
			sort := ""
			switch {
			case t.First().Failed:
				sort = FailedRequest
			case broken:
				sort = AbsorbedError
			case above < felt:
			case t.IsPicture():
				sort = SlowestPicture
			default:
				sort = SlowestRequest
			}
			sorts[sort] = append(sorts[sort], t)
		}
		for _, what := range []string{FailedRequest, AbsorbedError, SlowestRequest, SlowestPicture} {
			if len(sorts[what]) > 0 {
				r.Traces = append(r.Traces, j.example(f, what, sorts[what], usual))
			}
		}
	}
	return nil
}

// traced tells the times that are looked at: what is usual from the end of the steady phase, and each fault with some time after it, as long
// as a picture may be on its way.
func (j *judge) traced(faults []Fault) func(time.Time) bool {
	const usual, late = 300.0, 30.0
	var spans []Phase
	for _, p := range j.Phases {
		if p.Name == "steady" {
			spans = append(spans, Phase{From: max(p.From, p.To-usual), To: p.To + late})
		}
	}
	for _, f := range faults {
		if f.Injected != nil && f.Restored != nil {
			spans = append(spans, Phase{From: *f.Injected, To: *f.Restored + late})
		}
	}
	return func(t time.Time) bool {
		at := j.since(t)
		return slices.ContainsFunc(spans, func(p Phase) bool { return at >= p.From && at <= p.To })
	}
}

// since is a time on the run's clock.
func (j *judge) since(t time.Time) float64 { return float64(t.UnixMicro())/1e6 - j.abs(0) }

// example picks, of the traces that name the hop that most of them name, the one that says most: of broken ones that with most parts, of
// the others the slowest.
func (j *judge) example(f Fault, what string, sort []traces.Trace, usual traces.Usual) Trace {
	hops := make([]string, len(sort))
	whys := make([]string, len(sort))
	count := map[string]int{}
	for i, t := range sort {
		if s, broken := t.Broken(); broken {
			hops[i], whys[i] = s.Hop(), s.Why
		} else {
			part, above := t.HeldUp(usual)
			seconds := above.Seconds()
			hops[i], whys[i] = part.Hop, fmt.Sprintf("%s longer there than 95 %% of the steady phase", Quantity(&seconds, "seconds"))
		}
		count[hops[i]]++
	}
	best := 0
	for i, t := range sort {
		better := t.Took() > sort[best].Took()
		if what == FailedRequest || what == AbsorbedError {
			better = len(t.Spans) > len(sort[best].Spans)
		}
		if n, most := count[hops[i]], count[hops[best]]; n > most || n == most && better {
			best = i
		}
	}
	t := sort[best]
	out := Trace{Fault: f.ID, What: what, ID: Visible(t.First().Trace), Name: Visible(t.First().Name), From: j.since(t.First().From), Took: t.Took().Seconds(),
		Hop: Visible(hops[best]), Why: Visible(whys[best]), Alike: count[hops[best]], Of: len(sort)}
	for i, s := range t.Spans {
		out.Spans = append(out.Spans, TraceSpan{Name: Visible(s.Name), Hop: Visible(s.Hop()), Depth: t.Depth[i], From: s.From.Sub(t.First().From).Seconds(),
			To: s.To.Sub(t.First().From).Seconds(), Failed: s.Failed, Why: Visible(s.Why)})
	}
	return out
}
