package reports

import (
	"context"
	"math"

	"github.com/livedrill/livedrill/reports/stats"
)

// Core is one of the twelve metrics that every live platform is watched by. Gaps is the time without a reading.
type Core struct {
	Name string   `json:"name"`
	Unit string   `json:"unit"`
	Min  *float64 `json:"min"`
	Mean *float64 `json:"mean"`
	Max  *float64 `json:"max"`
	Last *float64 `json:"last"`
	N    int      `json:"n"`
	Gaps float64  `json:"gaps_s"`
	// Odd is how far the reading that is least like the steady phase's lies from their median, in their standard deviations (1.4826 times
	// the median distance, and at least a hundredth of the median); null: there are too few.
	Odd   *float64 `json:"anomaly_score"`
	OddAt *float64 `json:"anomaly_s"`
	Limit *float64 `json:"limit"` // that a forecast is made for
	Expr  string   `json:"expr"`

	points []Point
}

// CoreMetrics are the twelve, of which latency has two rows, with the limits that are worth seeing before they come.
var CoreMetrics = []struct {
	Name, Unit, Expr string
	Limit            float64 // 0: none
	Falling          bool
}{
	{"processor in use", "ratio", `livedrill_machine_busy_ratio`, 0.95, false},
	{"memory in use", "ratio", `livedrill_machine_memory_used_ratio`, 0.95, false},
	{"network, sent by all hosts", "bytes/s", `sum(rate(livedrill_host_sent_bytes_total[5s]))`, 0, false},
	{"encoders in use", "cores", `sum(rate(livedrill_transcode_encoder_cpu_seconds_total[5s]))`, 0, false},
	{"TCP connections", "connections", `sum(livedrill_host_tcp_connections)`, 0, false},
	{"API requests", "requests/s", `sum(rate(livedrill_gateway_requests_total[5s]))`, 0, false},
	{"API errors", "ratio", `sum(rate(livedrill_gateway_requests_total{class="5xx"}[5s])) / sum(rate(livedrill_gateway_requests_total[5s]))`, 0.05, false},
	{"API latency p50", "seconds", `histogram_quantile(0.5, sum(rate(livedrill_gateway_latency_seconds[5s])))`, 0, false},
	{"API latency p99", "seconds", `histogram_quantile(0.99, sum(rate(livedrill_gateway_latency_seconds[5s])))`, 1, false},
	{"edge cache hits", "ratio", `sum(rate(livedrill_edge_requests_total{cache=~"HIT|STALE|UPDATING|REVALIDATED"}[5s])) / sum(rate(livedrill_edge_requests_total[5s]))`, 0.6, true},
	{"requests waiting in the gateway", "requests", `sum(livedrill_gateway_requests_in_work)`, 256, false},
	{"push success", "ratio", `sum(increase(livedrill_push_total{result="seen"}[60s])) / (sum(increase(livedrill_push_total[60s])) > 0)`, 0, false},
	{"viewers' time stalled", "ratio", `sum(rate(livedrill_player_stalled_seconds_total[5s])) / sum(rate(livedrill_player_watched_seconds_total[5s]))`, 0, false},
}

// core reads the twelve metrics over the run from its first phase on.
func (j *judge) core(ctx context.Context, r *Result) error {
	_, _, step := j.span(mostPoints)
	from := j.Phases[0].From + 6 // a rate over five seconds needs them
	for _, m := range CoreMetrics {
		points, err := j.curve(ctx, m.Expr)
		if err != nil {
			return err
		}
		c := Core{Name: m.Name, Unit: m.Unit, Expr: m.Expr}
		if m.Limit > 0 {
			c.Limit = &m.Limit
		}
		low, high, sum := math.Inf(1), math.Inf(-1), 0.0
		for _, p := range points {
			if p.T < from || p.T > j.Run.Duration {
				continue
			}
			c.points = append(c.points, p)
			low, high, sum = min(low, p.V), max(high, p.V), sum+p.V
		}
		if c.N = len(c.points); c.N > 0 {
			mean := sum / float64(c.N)
			c.Min, c.Mean, c.Max, c.Last = &low, &mean, &high, &c.points[c.N-1].V
		}
		wanted := math.Floor((j.Run.Duration - from) / step.Seconds())
		c.Gaps = max(0, wanted-float64(c.N)) * step.Seconds()
		j.oddest(&c)
		r.Core = append(r.Core, c)
	}
	return nil
}

// oddest finds the reading after the steady phase that is least like those in it.
func (j *judge) oddest(c *Core) {
	steady, ok := j.window("steady")
	var usual, off []float64
	for _, p := range c.points {
		if ok && j.abs(p.T) >= steady.From && j.abs(p.T) <= steady.To {
			usual = append(usual, p.V)
		}
	}
	middle := stats.Median(usual)
	for _, v := range usual {
		off = append(off, math.Abs(v-middle))
	}
	scale := max(1.4826*stats.Median(off), 0.01*math.Abs(middle))
	if len(usual) < 10 || !(scale > 0) {
		return
	}
	for i, p := range c.points {
		if score := math.Abs(p.V-middle) / scale; j.abs(p.T) > steady.To && (c.Odd == nil || score > *c.Odd) {
			c.Odd, c.OddAt = &score, &c.points[i].T
		}
	}
}

// Forecast is a limit that was seen coming.
type Forecast struct {
	Metric   string   `json:"metric"`
	Limit    float64  `json:"limit"`
	Said     float64  `json:"said_s"`      // when
	Crossing float64  `json:"crossing_s"`  // what was forecast
	Crossed  *float64 `json:"crossed_s"`   // what came; null: not within the run
	Lead     *float64 `json:"lead_time_s"` // from the forecast to the real crossing
}

// horizon is how far ahead a crossing is worth saying.
const horizon = 30 * 60.0

// forecasts looks for limits of the core metrics that are coming closer.
func (j *judge) forecasts(_ context.Context, r *Result) error {
	_, _, step := j.span(mostPoints)
	for i, c := range r.Core {
		if c.Limit == nil || c.N == 0 {
			continue
		}
		values := make([]float64, c.N)
		for k, p := range c.points {
			values[k] = p.V
		}
		f := stats.Forecaster{Limit: *c.Limit, Falling: CoreMetrics[i].Falling, Step: step.Seconds(), Horizon: horizon, Learn: true}
		alarm, ok := f.First(values)
		if !ok {
			continue
		}
		said := c.points[alarm.At].T
		out := Forecast{Metric: c.Name, Limit: *c.Limit, Said: said, Crossing: said + alarm.InTime}
		for k := alarm.At + 1; k < c.N && out.Crossed == nil; k++ {
			if p := c.points[k]; (p.V >= *c.Limit) != CoreMetrics[i].Falling {
				lead := p.T - said
				out.Crossed, out.Lead = &c.points[k].T, &lead
			}
		}
		r.Forecasts = append(r.Forecasts, out)
	}
	return nil
}
