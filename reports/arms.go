package reports

import (
	"context"
	"math"
	"math/rand/v2"

	"github.com/livedrill/livedrill/reports/stats"
)

// Arms is an A/B run: a, which most users had, beside b, the canary, in the same windows of the same run.
type Arms struct {
	Share  Share `json:"share"` // of all requests that b really had
	Rows   []Arm `json:"rows"`
	Better int   `json:"better"`
	Worse  int   `json:"worse"`
	Open   int   `json:"open"` // that this run cannot tell
}

// Arm is one number of both arms. Change is b less a for shares, and b ÷ a − 1 for latencies.
type Arm struct {
	SLI     string   `json:"sli"`
	Point   string   `json:"point"` // value, p50, p95 or p99
	Unit    string   `json:"unit"`
	A       *float64 `json:"a"`
	B       *float64 `json:"b"`
	NA      float64  `json:"n_a"`
	NB      float64  `json:"n_b"`
	Change  *float64 `json:"change"`
	Low     *float64 `json:"low"` // all rows' bounds together hold with 95 %
	High    *float64 `json:"high"`
	Least   float64  `json:"least_change"` // that matters
	Verdict string   `json:"verdict"`      // better, same, worse, cannot-tell
}

// compared are the numbers that the arms are compared by: those whose requests carry their arm.
var compared = []struct {
	sli, point string
	quantile   float64
	least      float64
	higher     bool // is better
}{
	{"api_error_ratio", "value", 0, 0.005, false}, {"payment_success_ratio", "value", 0, 0.005, true},
	{"api_latency_seconds", "p50", 0.5, 0.05, false}, {"api_latency_seconds", "p95", 0.95, 0.05, false}, {"api_latency_seconds", "p99", 0.99, 0.05, false},
}

// armLevel makes the five intervals hold together with 95 % (Bonferroni).
const armLevel = 0.99

// arms compares the two versions of an A/B run over the whole of it but its warm-up.
func (j *judge) arms(ctx context.Context, r *Result) error {
	names, err := j.values(ctx, "livedrill_api_requests_total", "arm")
	if err != nil || len(names) < 2 {
		return err
	}
	w, ok := j.window(WholeRun)
	if !ok {
		return nil
	}
	out := &Arms{Rows: []Arm{}}
	all := SLI{Name: "arm", Good: `livedrill_api_requests_total{arm="b"}`, Total: `livedrill_api_requests_total`}
	if out.Share, err = j.share(ctx, all, w); err != nil {
		return err
	}
	if !(out.Share.N > 0) {
		return nil
	}
	for _, c := range compared {
		sli, _ := FindSLI(c.sli)
		row, err := j.arm(ctx, sli, c.quantile, w)
		if err != nil {
			return err
		}
		row.Point, row.Least = c.point, c.least
		row.Verdict = verdictOf(row, c.higher)
		switch row.Verdict {
		case "better":
			out.Better++
		case "worse":
			out.Worse++
		case "cannot-tell":
			out.Open++
		}
		out.Rows = append(out.Rows, row)
	}
	r.Arms = out
	return nil
}

func (j *judge) arm(ctx context.Context, sli SLI, quantile float64, w Window) (Arm, error) {
	row := Arm{SLI: sli.Name, Unit: sli.Unit}
	o := Objective{SLI: sli.Name, Quantile: quantile}
	a, b := sli.In("arm", "a"), sli.In("arm", "b")
	ma, err := j.measure(ctx, o, a, w)
	if err != nil {
		return row, err
	}
	mb, err := j.measure(ctx, o, b, w)
	if err != nil {
		return row, err
	}
	row.A, row.B, row.NA, row.NB = finite(ma.value), finite(mb.value), orNothing(ma.n), orNothing(mb.n)
	rng := rand.New(rand.NewPCG(j.Run.Seed, 3))
	if sli.Histogram == "" {
		wa, err := j.windowsOf(ctx, a, w)
		if err != nil {
			return row, err
		}
		wb, err := j.windowsOf(ctx, b, w)
		if err != nil {
			return row, err
		}
		d := stats.DuetRatio(wa, wb, armLevel, rng)
		// Where an arm had no event at all, windows cannot say how many it might have had: its own bounds can.
		row.Change, row.Low, row.High = finite(mb.value-ma.value), finite(min(d.Low, mb.low-ma.high)), finite(max(d.High, mb.high-ma.low))
		return row, nil
	}
	sa, err := j.cumulative(ctx, a.Histogram)
	if err != nil {
		return row, err
	}
	sb, err := j.cumulative(ctx, b.Histogram)
	if err != nil {
		return row, err
	}
	steps := max(1, int(math.Round(bootstrapWindow/sa.step)))
	ha, _ := sa.buckets(w.From, w.To, steps)
	hb, _ := sb.buckets(w.From, w.To, steps)
	d := stats.DuetQuantile(ha, hb, quantile, armLevel, rng)
	row.Change, row.Low, row.High = finite(mb.value/ma.value-1), finite(math.Expm1(d.Low)), finite(math.Expm1(d.High))
	return row, nil
}

// orNothing makes no number of events none.
func orNothing(n float64) float64 {
	if math.IsNaN(n) {
		return 0
	}
	return n
}

// verdictOf decides as the gate does: a change must be beyond chance and must matter.
func verdictOf(r Arm, higher bool) string {
	if r.Change == nil || r.Low == nil || r.High == nil {
		return "cannot-tell"
	}
	low, high, change := *r.Low, *r.High, *r.Change
	if higher {
		low, high, change = -high, -low, -change
	}
	switch {
	case low > 0 && change > r.Least:
		return "worse"
	case high < 0 && -change > r.Least:
		return "better"
	case low >= -r.Least && high <= r.Least:
		return "same"
	}
	return "cannot-tell"
}
