package reports

import (
	"context"
	"math"
	"time"
)

// Chart is one figure of the report: a few curves over the run's time.
type Chart struct {
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

// figures are the main curves, as PromQL over windows of three seconds.
var figures = []struct {
	title, unit string
	curves      [][2]string // name and PromQL
}{
	{"Viewers: share of time stalled", "ratio", [][2]string{
		{"north", `sum(rate(livedrill_player_stalled_seconds_total{region="north"}[3s])) / sum(rate(livedrill_player_watched_seconds_total{region="north"}[3s]))`},
		{"south", `sum(rate(livedrill_player_stalled_seconds_total{region="south"}[3s])) / sum(rate(livedrill_player_watched_seconds_total{region="south"}[3s]))`}}},
	{"Viewers: end-to-end delay of arriving frames", "seconds", [][2]string{
		{"p50", `histogram_quantile(0.5, sum(rate(livedrill_e2e_latency_seconds[3s])))`},
		{"p95", `histogram_quantile(0.95, sum(rate(livedrill_e2e_latency_seconds[3s])))`}}},
	{"Transcoder: delay of a frame, and backlog", "seconds", [][2]string{
		{"delay p95", `histogram_quantile(0.95, sum(rate(livedrill_transcode_delay_seconds[3s])))`},
		{"backlog", `max(livedrill_transcode_backlog_seconds)`}}},
	{"Danmaku: messages a second", "messages/s", [][2]string{
		{"due", `sum(rate(livedrill_danmaku_due_total[3s]))`},
		{"accepted", `sum(rate(livedrill_danmaku_published_total{result="accepted"}[3s]))`},
		{"refused or unsent", `sum(rate(livedrill_danmaku_published_total{result!="accepted"}[3s]))`}}},
	{"Danmaku: time to a member of the room", "seconds", [][2]string{
		{"p50", `histogram_quantile(0.5, sum(rate(livedrill_danmaku_delivery_seconds[3s])))`},
		{"p99", `histogram_quantile(0.99, sum(rate(livedrill_danmaku_delivery_seconds[3s])))`}}},
	{"API: requests a second", "requests/s", [][2]string{
		{"good", `sum(rate(livedrill_api_requests_total{outcome="ok"}[3s]))`},
		{"errors", `sum(rate(livedrill_api_requests_total{outcome="error"}[3s]))`}}},
	{"API: latency from the due time", "seconds", [][2]string{
		{"p50", `histogram_quantile(0.5, sum(rate(livedrill_api_latency_seconds[3s])))`},
		{"p99", `histogram_quantile(0.99, sum(rate(livedrill_api_latency_seconds[3s])))`}}},
	{"Edges: share of requests answered from the cache", "ratio", [][2]string{
		{"edge-north", `sum(rate(livedrill_edge_requests_total{instance="edge-north",cache=~"HIT|STALE|UPDATING|REVALIDATED"}[3s])) / sum(rate(livedrill_edge_requests_total{instance="edge-north"}[3s]))`},
		{"edge-south", `sum(rate(livedrill_edge_requests_total{instance="edge-south",cache=~"HIT|STALE|UPDATING|REVALIDATED"}[3s])) / sum(rate(livedrill_edge_requests_total{instance="edge-south"}[3s]))`}}},
	{"Processor: cores in use", "cores", [][2]string{
		{"encoders", `sum(rate(livedrill_transcode_encoder_cpu_seconds_total[3s]))`},
		{"platform", `sum(rate(process_cpu_seconds_total{instance!~"range|load-.*"}[3s]))`},
		{"load", `sum(rate(process_cpu_seconds_total{instance=~"load-.*"}[3s]))`},
		{"range", `sum(rate(process_cpu_seconds_total{instance="range"}[3s]))`}}},
}

// charts reads the main curves. A curve without readings is left out, and a figure without curves too.
func (j judge) charts(ctx context.Context) ([]Chart, error) {
	from := time.UnixMilli(int64(j.abs(0) * 1000))
	to := time.UnixMilli(int64(j.abs(j.Run.Duration) * 1000))
	step := max(time.Second, to.Sub(from)/600) // a long run is drawn in at most 600 points
	var out []Chart
	for _, f := range figures {
		chart := Chart{Title: f.title, Unit: f.unit}
		for _, curve := range f.curves {
			matrix, err := j.db.QueryRange(ctx, curve[1], from, to, step.Truncate(time.Second))
			if err != nil {
				return nil, err
			}
			s := Series{Name: curve[0]}
			for _, series := range matrix {
				for _, p := range series.Floats {
					if !math.IsNaN(p.F) && !math.IsInf(p.F, 0) {
						s.Points = append(s.Points, Point{float64(p.T)/1000 - j.abs(0), p.F})
					}
				}
			}
			if len(s.Points) > 0 {
				chart.Series = append(chart.Series, s)
			}
		}
		if len(chart.Series) > 0 {
			out = append(out, chart)
		}
	}
	return out, nil
}
