package reports

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/livedrill/livedrill/reports/record"
)

// Guard watches objectives while a run goes on: what the last seconds have missed for certain, nobody need wait for the end to know.
type Guard struct {
	judge *judge
	span  float64 // seconds
}

// guardSpan is how far back the guard looks, and guardLeast the events that it needs to be certain.
const (
	guardSpan  = 5.0
	guardLeast = 20
)

// NewGuard watches objectives; nil means that there are none.
func NewGuard(run Run, objectives []Objective, db *record.Database) *Guard {
	if len(objectives) == 0 {
		return nil
	}
	return &Guard{judge: &judge{Facts: Facts{Run: run, Objectives: objectives}, db: db, known: map[string]*series{}}, span: guardSpan}
}

// Broken tells which objective is missed now, and by what; "" is none. live says of each objective's "during" whether it is so now, and since when
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
