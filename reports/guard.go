package reports

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/livedrill/livedrill/reports/record"
)

// Guard watches, while a run goes on, the objectives that end it: when the last seconds have missed one for certain, nobody waits for
// the end of the plan.
type Guard struct {
	judge *judge
	span  float64 // seconds
}

// guardSpan is how far back the guard looks, and guardLeast the events that it needs to be certain.
const (
	guardSpan  = 5.0
	guardLeast = 20
)

// NewGuard watches the objectives that are marked to abort; nil means that there is none.
func NewGuard(run Run, objectives []Objective, db *record.Database) *Guard {
	g := &Guard{judge: &judge{Facts: Facts{Run: run}, db: db, known: map[string]*series{}}, span: guardSpan}
	for _, o := range objectives {
		if o.Abort {
			g.judge.Objectives = append(g.judge.Objectives, o)
		}
	}
	if len(g.judge.Objectives) == 0 {
		return nil
	}
	return g
}

// Broken tells why the run must end now; "" is no reason. live says of each objective's "during" whether it is so now, and since when
// (Unix seconds): what was before is not looked at.
func (g *Guard) Broken(ctx context.Context, now time.Time, live func(during string) (since float64, now bool)) (string, error) {
	at := float64(now.UnixMilli()) / 1000
	for _, o := range g.judge.Objectives {
		since, now := live(o.During)
		from := max(at-g.span, since)
		if !now || at-from < 1 {
			continue
		}
		sli, _ := FindSLI(o.SLI)
		clear(g.judge.known) // what was read before has grown
		m, err := g.judge.measure(ctx, o, sli, Window{From: from, To: at})
		if err != nil {
			return "", fmt.Errorf("%s: %w", o.Name, err)
		}
		least := float64(guardLeast)
		if o.Expr != "" || sli.Value != "" {
			least = 1 // a reading is no sample
		}
		if math.IsNaN(m.value) || m.n < least || o.Holds(m.value) || o.Holds(m.low) || o.Holds(m.high) {
			continue
		}
		return fmt.Sprintf("%s: %s in the last %.0f s, limit %s %s", o.Name, Quantity(&m.value, sli.Unit), at-from, o.Op, Quantity(&o.Threshold, sli.Unit)), nil
	}
	return "", nil
}
