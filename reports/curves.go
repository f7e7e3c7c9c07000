package reports

import (
	"context"
	"math"
	"time"
)

// Chart is one figure of the report: a few curves over the run's time.
type Chart struct {
	ID     string
	Title  string
	Unit   string // ratio, seconds, or what is counted
	Series []Series
}

// Series is one curve.
type Series struct {
	Name   string
	Points []Point
}

// Point is one reading, in seconds from the start of the run.
type Point struct{ T, V float64 }

// Heat is how a latency was spread over time: for each column of time and each row of latency, the events in it.
type Heat struct {
	Title  string
	Times  []float64   // where each column begins, in seconds from the start, and where the last ends
	Bounds []float64   // where each row begins, in seconds, and where the last ends
	Counts [][]float64 // by column, then row
}

// Curve is one line of a figure, as PromQL; or as many lines as the label By has values, each with the value as its name.
type Curve struct{ Name, Expr, By string }

// Curves are the main figures, as PromQL over windows of three seconds.
var Curves = []struct {
	ID, Title, Unit string
	Curves          []Curve
}{
	{"stalled", "Viewers: share of time stalled", "ratio", []Curve{
		{By: "region", Expr: `sum by (region) (rate(livedrill_player_stalled_seconds_total[3s])) / sum by (region) (rate(livedrill_player_watched_seconds_total[3s]))`}}},
	{"delay", "Viewers: end-to-end delay of arriving frames", "seconds", []Curve{
		{Name: "p50", Expr: `histogram_quantile(0.5, sum(rate(livedrill_e2e_latency_seconds[3s])))`},
		{Name: "p95", Expr: `histogram_quantile(0.95, sum(rate(livedrill_e2e_latency_seconds[3s])))`}}},
	{"transcode", "Transcoder: delay of a frame, and backlog", "seconds", []Curve{
		{Name: "delay p95", Expr: `histogram_quantile(0.95, sum(rate(livedrill_transcode_delay_seconds[3s])))`},
		{Name: "backlog", Expr: `max(livedrill_transcode_backlog_seconds)`}}},
	{"danmaku-rate", "Danmaku: messages a second", "messages/s", []Curve{
		{Name: "due", Expr: `sum(rate(livedrill_danmaku_due_total[3s]))`},
		{Name: "accepted", Expr: `sum(rate(livedrill_danmaku_published_total{result="accepted"}[3s]))`},
		{Name: "refused or unsent", Expr: `sum(rate(livedrill_danmaku_published_total{result!="accepted"}[3s]))`}}},
	{"danmaku-delivery", "Danmaku: time to a member of the room", "seconds", []Curve{
		{Name: "p50", Expr: `histogram_quantile(0.5, sum(rate(livedrill_danmaku_delivery_seconds[3s])))`},
		{Name: "p99", Expr: `histogram_quantile(0.99, sum(rate(livedrill_danmaku_delivery_seconds[3s])))`}}},
	{"api-rate", "API: requests a second", "requests/s", []Curve{
		{Name: "good", Expr: `sum(rate(livedrill_api_requests_total{outcome="ok"}[3s]))`},
		{Name: "errors", Expr: `sum(rate(livedrill_api_requests_total{outcome="error"}[3s]))`}}},
	{"api-latency", "API: latency from the due time, good and failed apart", "seconds", []Curve{
		{Name: "good p50", Expr: `histogram_quantile(0.5, sum(rate(livedrill_api_latency_seconds{outcome="ok"}[3s])))`},
		{Name: "good p99", Expr: `histogram_quantile(0.99, sum(rate(livedrill_api_latency_seconds{outcome="ok"}[3s])))`},
		{Name: "failed p50", Expr: `histogram_quantile(0.5, sum(rate(livedrill_api_latency_seconds{outcome!="ok"}[3s])))`},
		{Name: "failed p99", Expr: `histogram_quantile(0.99, sum(rate(livedrill_api_latency_seconds{outcome!="ok"}[3s])))`}}},
	{"queue", "Queue: gifts that wait for their room's ranking", "gifts", []Curve{
		{Name: "first", Expr: `sum(livedrill_queue_waiting{queue="first"}) and on () sum(livedrill_queue_put_total) > 0`},
		{Name: "later", Expr: `sum(livedrill_queue_waiting{queue="later"}) and on () sum(livedrill_queue_put_total{queue="later"}) > 0`}}},
	{"people", "People: journeys that ended, and the stampede of those who connect anew", "1/s", []Curve{
		{Name: "whole", Expr: `sum(rate(livedrill_journeys_total{result="whole"}[3s]))`},
		{Name: "broken", Expr: `sum(rate(livedrill_journeys_total{result="broken"}[3s]))`},
		{Name: "reconnects", Expr: `sum(rate(livedrill_journey_reconnects_total[3s]))`}}},
	{"cache", "Edges: share of requests answered from the cache", "ratio", []Curve{
		{By: "instance", Expr: `sum by (instance) (rate(livedrill_edge_requests_total{cache=~"HIT|STALE|UPDATING|REVALIDATED"}[3s])) / sum by (instance) (rate(livedrill_edge_requests_total[3s]))`}}},
	{"load", "Load: asked and made", "arrivals/s", []Curve{
		{Name: "asked", Expr: `sum(rate(livedrill_load_offered_total[3s]))`},
		{Name: "made", Expr: `sum(rate(livedrill_load_achieved_total[3s]))`}}},
	{"cores", "Processor: cores in use", "cores", []Curve{
		{Name: "encoders", Expr: `sum(rate(livedrill_transcode_encoder_cpu_seconds_total[3s]))`},
		{Name: "platform", Expr: `sum(rate(process_cpu_seconds_total{instance!~"range|load-.*"}[3s]))`},
		{Name: "load", Expr: `sum(rate(process_cpu_seconds_total{instance=~"load-.*"}[3s]))`},
		{Name: "range", Expr: `sum(rate(process_cpu_seconds_total{instance="range"}[3s]))`}}},
}

// mostPoints is how many points a curve has at most: a long run is drawn in longer steps.
const mostPoints = 600

// span is the whole run in the database's own time, and the step in which it is drawn.
func (j *judge) span(points int) (from, to time.Time, step time.Duration) {
	from, to = time.UnixMilli(int64(j.abs(0)*1000)), time.UnixMilli(int64(j.abs(j.Run.Duration)*1000))
	step = max(time.Second, (to.Sub(from)/time.Duration(points)).Truncate(time.Second)+time.Second)
	if to.Sub(from) <= time.Duration(points)*time.Second {
		step = time.Second
	}
	return from, to, step
}

// charts reads the main curves. A curve without readings is left out, and a figure without curves too.
func (j *judge) charts(ctx context.Context) ([]Chart, error) {
	var out []Chart
	for _, f := range Curves {
		chart := Chart{ID: f.ID, Title: f.Title, Unit: f.Unit}
		for _, c := range f.Curves {
			series, err := j.series(ctx, c)
			if err != nil {
				return nil, err
			}
			chart.Series = append(chart.Series, series...)
		}
		if len(chart.Series) > 0 {
			out = append(out, chart)
		}
	}
	return out, nil
}

// series reads the lines of a curve over the whole run; those without a reading are left out.
func (j *judge) series(ctx context.Context, c Curve) ([]Series, error) {
	from, to, step := j.span(mostPoints)
	matrix, err := j.db.QueryRange(ctx, c.Expr, from, to, step)
	if err != nil {
		return nil, err
	}
	var out []Series
	for _, line := range matrix {
		s := Series{Name: c.Name}
		if c.By != "" {
			s.Name = line.Metric.Get(c.By)
		}
		for _, p := range line.Floats {
			if !math.IsNaN(p.F) && !math.IsInf(p.F, 0) {
				s.Points = append(s.Points, Point{float64(p.T)/1000 - j.abs(0), p.F})
			}
		}
		if len(s.Points) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

// curve reads PromQL that gives one line.
func (j *judge) curve(ctx context.Context, expr string) ([]Point, error) {
	series, err := j.series(ctx, Curve{Expr: expr})
	var out []Point
	for _, s := range series {
		out = append(out, s.Points...)
	}
	return out, err
}

// heated are the latencies that are drawn as a heat map.
var heated = []struct{ title, selector string }{
	{"API: latency over time", `livedrill_api_latency_seconds`},
	{"Danmaku: delivery over time", `livedrill_danmaku_delivery_seconds`},
	{"Viewers: end-to-end delay over time", `livedrill_e2e_latency_seconds`},
}

const (
	heatColumns = 120
	heatRows    = 24
)

// heats reads the heat maps: rows of equal ratio between the smallest and the largest latency that was seen.
func (j *judge) heats(ctx context.Context) ([]Heat, error) {
	var out []Heat
	for _, h := range heated {
		s, err := j.cumulative(ctx, h.selector)
		if err != nil {
			return nil, err
		}
		b, times := s.buckets(j.abs(0), j.abs(j.Run.Duration), max(1, len(s.t)/heatColumns))
		low, high := math.Inf(1), 0.0
		for _, counts := range b.Counts {
			for k, n := range counts {
				if n > 0 {
					low, high = min(low, max(b.Lower[k], 1e-4)), max(high, b.Upper[k])
				}
			}
		}
		if high <= low {
			continue
		}
		heat := Heat{Title: h.title}
		for _, t := range times {
			heat.Times = append(heat.Times, t-j.abs(0))
		}
		ratio := math.Pow(high/low, 1.0/heatRows)
		for r := range heatRows + 1 {
			heat.Bounds = append(heat.Bounds, low*math.Pow(ratio, float64(r)))
		}
		for _, counts := range b.Counts {
			column := make([]float64, heatRows)
			for k, n := range counts {
				if n > 0 {
					row := int(math.Log(max(math.Sqrt(max(b.Lower[k], 1e-12)*b.Upper[k]), low)/low) / math.Log(ratio))
					column[min(max(row, 0), heatRows-1)] += n
				}
			}
			heat.Counts = append(heat.Counts, column)
		}
		out = append(out, heat)
	}
	return out, nil
}
