package reports

import (
	"context"
	"fmt"
	"math"
)

// A load is suspect when its arrivals come so late that latencies mean little, and saturated when it could not make the
// load that was asked for.
const (
	suspectLate   = 0.100 // s, p99
	saturatedLate = 1.0
	achievedLeast = 0.99
	onTheWay      = 2 // arrivals that may be carried out right after the last reading
)

// loads reads what every workload did from the end of the warm-up on.
func (j *judge) loads(ctx context.Context) ([]Load, error) {
	w, ok := j.window(WholeRun)
	if !ok {
		w, ok = j.window("warm-up")
	}
	var out []Load
	for _, load := range j.Workloads {
		l := Load{Name: load.Name, Kind: load.Kind, State: "valid"}
		if !ok {
			l.State = "suspect"
			out = append(out, l)
			continue
		}
		sel := fmt.Sprintf(`{load=%q}`, load.Name)
		var p50, late, p999 float64
		lateness := increase("livedrill_load_lateness_seconds"+sel, w)
		for _, part := range []struct {
			into *float64
			expr string
		}{
			{&l.Offered, increase("livedrill_load_offered_total"+sel, w)},
			{&l.Achieved, increase("livedrill_load_achieved_total"+sel, w)},
			{&l.Failed, increase("livedrill_load_failed_total"+sel, w)},
			{&l.CPU, increase(fmt.Sprintf(`process_cpu_seconds_total{instance=~"load-%s-.*"}`, load.Name), w)},
			{&p50, fmt.Sprintf("histogram_quantile(0.5, %s)", lateness)},
			{&late, fmt.Sprintf("histogram_quantile(0.99, %s)", lateness)},
			{&p999, fmt.Sprintf("histogram_quantile(0.999, %s)", lateness)},
		} {
			v, err := j.number(ctx, part.expr, w.To)
			if err != nil {
				return nil, err
			}
			if !math.IsNaN(v) {
				*part.into = v
			} else if part.into == &l.Offered {
				l.State = "suspect" // nothing was recorded of it
			}
		}
		var err error
		if l.Why, err = j.increases(ctx, "livedrill_load_failed_total"+sel, "reason", w); err != nil {
			return nil, err
		}
		l.LateP50, l.LateP99, l.LateP999 = p50*1000, late*1000, p999*1000
		l.RateOffered, l.RateAchieved = l.Offered/(w.To-w.From), l.Achieved/(w.To-w.From)
		switch {
		case late > saturatedLate || l.Offered-l.Achieved > onTheWay && l.Achieved < achievedLeast*l.Offered:
			l.State = "saturated"
		case late > suspectLate:
			l.State = "suspect"
		}
		out = append(out, l)
	}
	return out, nil
}

// increases is by how much a counter grew for each value of a label for which it did.
func (j *judge) increases(ctx context.Context, selector, label string, w Window) (map[string]float64, error) {
	vector, err := j.db.Query(ctx, fmt.Sprintf("sum by (%[1]s) (%[2]s @ %.3[4]f) - sum by (%[1]s) (%[2]s @ %.3[3]f)", label, selector, w.From, w.To), clockOf(w.To))
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, s := range vector {
		if s.F > 0 {
			out[s.Metric.Get(label)] = s.F
		}
	}
	return out, nil
}

// costs reads what livedrill took of the machine.
func (j *judge) costs(ctx context.Context) (Costs, error) {
	c := Costs{ReadyAfter: j.Ready}
	w, ok := j.window(WholeRun)
	if !ok {
		return c, nil
	}
	for _, part := range []struct {
		into     *float64
		instance string
	}{{&c.RangeCores, `="range"`}, {&c.LoadCores, `=~"load-.*"`}, {&c.StackCores, `!~"range|load-.*"`}} {
		v, err := j.number(ctx, increase("process_cpu_seconds_total{instance"+part.instance+"}", w), w.To)
		if err != nil {
			return c, err
		}
		if !math.IsNaN(v) {
			*part.into = v / (w.To - w.From)
		}
	}
	return c, nil
}

// consistency proves that numbers which must agree do.
func (j *judge) consistency(ctx context.Context) ([]Check, error) {
	end := j.abs(j.Run.Duration)
	recorded := 0
	sum := func(selector string) (float64, error) {
		v, err := j.number(ctx, fmt.Sprintf("sum(%s @ %.3f)", selector, end), end)
		if math.IsNaN(v) {
			return 0, err
		}
		recorded++
		return v, err
	}
	out := []Check{}
	for _, name := range j.Verify {
		check, ok := checks[name]
		if !ok {
			out = append(out, Check{Check: name, Detail: "this version of livedrill knows no such check"})
			continue
		}
		if !j.Finished {
			out = append(out, Check{Check: name, Detail: "the run died before its books were settled"})
			continue
		}
		recorded = 0
		values := make([]float64, len(check.selectors))
		for i, s := range check.selectors {
			var err error
			if values[i], err = sum(s); err != nil {
				return nil, err
			}
		}
		good, detail := check.judge(values)
		if recorded == 0 {
			good, detail = false, "nothing was recorded of it"
		}
		out = append(out, Check{Check: name, OK: good, Detail: detail})
	}
	return out, nil
}

// checks are the proofs that a scenario can ask for.
var checks = map[string]struct {
	selectors []string
	judge     func([]float64) (bool, string)
}{
	"danmaku-accounting": {
		[]string{`livedrill_danmaku_due_total`, `livedrill_danmaku_published_total{result="unsent"}`, `livedrill_danmaku_written_total`,
			`livedrill_danmaku_published_total{result="accepted"}`, `livedrill_danmaku_published_total{result=~"rejected|cut|unanswered"}`, `livedrill_danmaku_in_flight`,
			`livedrill_danmaku_owed_total`, `livedrill_danmaku_delivered_total`, `livedrill_danmaku_duplicates_total`, `livedrill_danmaku_disorder_total`},
		func(v []float64) (bool, string) {
			return same(v[0], v[1]+v[2]) && same(v[2], v[3]+v[4]+v[5]) && v[7] < v[6]+0.5, fmt.Sprintf(
				"%.0f due = %.0f not sent + %.0f sent; these = %.0f acknowledged + %.0f failed + %.0f in flight; %.0f owed = %.0f delivered + %.0f lost; %.0f duplicates, %.0f out of order",
				v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[6]-v[7], v[8], v[9])
		}},
	"gift-ledger": {
		[]string{`livedrill_api_requests_total{route="gift",outcome="ok"}`, `livedrill_ledger_gifts{instance="gateway"}`, `livedrill_ledger_difference{instance="gateway"}`},
		func(v []float64) (bool, string) {
			return v[1] >= v[0] && v[2] == 0, fmt.Sprintf(
				"%.0f gifts acknowledged, %.0f in the ledger; gifts and accounts differ by %.0f coins", v[0], v[1], v[2])
		}},
	"gift-queue": {
		[]string{`livedrill_ledger_gifts{instance="gateway"}`, `livedrill_queue_books{entry="put"}`, `livedrill_queue_books{entry="done"}`, `livedrill_queue_waiting`,
			`livedrill_queue_books{entry="later"}`},
		func(v []float64) (bool, string) {
			return same(v[0], v[1]) && same(v[1], v[2]+v[3]), fmt.Sprintf(
				"%.0f gifts in the ledger, %.0f put in the queue (%.0f of them found it full) = %.0f in the ranking + %.0f waiting", v[0], v[1], v[4], v[2], v[3])
		}},
}

// same tells whether two sums of whole numbers are one.
func same(a, b float64) bool { return math.Abs(a-b) < 0.5 }

// CheckNames lists the proofs that a scenario can ask for.
func CheckNames() []string { return []string{"danmaku-accounting", "gift-ledger", "gift-queue"} }
