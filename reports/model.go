package reports

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/livedrill/livedrill/reports/stats"
)

// Model is what queueing theory says of one part of the platform from its load, beside what was measured there.
type Model struct {
	During    string   `json:"during"` // the steady phase, or a fault
	Part      string   `json:"part"`
	Theory    string   `json:"theory"`
	Load      float64  `json:"load"` // offered: arrivals a second times seconds of service; for encoders the share of the speed that they need
	Unit      string   `json:"unit"`
	Predicted *float64 `json:"predicted"` // null: it grows without end
	Measured  *float64 `json:"measured"`
	Error     *float64 `json:"error"` // predicted − measured
}

// models holds theory against the run, in the steady phase and during each fault.
func (j *judge) models(ctx context.Context, r *Result) error {
	during := map[string]Window{}
	names := []string{}
	add := func(name, id string) {
		if w, ok := j.window(name); ok {
			names, during[id] = append(names, id), w
		}
	}
	add("steady", "steady")
	for _, f := range r.Faults {
		add(f.ID, f.ID)
	}
	for _, name := range names {
		w := during[name]
		for _, model := range []func(context.Context, Window) (*Model, error){j.requestModel, j.poolModel, j.pathModel} {
			m, err := model(ctx, w)
			if err != nil {
				return err
			}
			if m != nil {
				r.Models = append(r.Models, m.at(name))
			}
		}
		m, err := j.encoderModel(ctx, faultByID(r.Faults, name))
		if err != nil {
			return err
		}
		if m != nil {
			r.Models = append(r.Models, m.at(name))
		}
	}
	return nil
}

func (m Model) at(during string) Model {
	m.During = during
	if m.Predicted != nil && *m.Predicted < 1e-9 { // none that anybody would live to see
		none := 0.0
		m.Predicted = &none
	}
	if m.Predicted != nil && m.Measured != nil {
		off := *m.Predicted - *m.Measured
		m.Error = &off
	}
	return m
}

// requestModel is the gateway's bound of requests in work: servers without a queue, which turn away whoever finds them all busy.
func (j *judge) requestModel(ctx context.Context, w Window) (*Model, error) {
	v, err := j.numbers(ctx, w.To,
		`sum(livedrill_gateway_requests_limit{instance="gateway"})`,
		"histogram_sum("+increase(`livedrill_gateway_latency_seconds{instance="gateway"}`, w)+")",
		increase(`livedrill_gateway_turned_away_total{instance="gateway"}`, w),
		increase(`livedrill_gateway_requests_total{instance="gateway"}`, w))
	if err != nil || v == nil || v[0] == 0 || v[3] <= 0 {
		return nil, err
	}
	limit, carried, measured := int(v[0]), v[1]/(w.To-w.From), v[2]/v[3]
	load := carried
	for range 100 { // what was offered is what was carried and what was turned away
		load = carried / (1 - min(0.999, stats.ErlangB(limit, load)))
	}
	predicted := stats.ErlangB(limit, load)
	return &Model{Part: "requests that the gateway turns away", Theory: "M/G/c/c", Load: load, Unit: "ratio", Predicted: &predicted, Measured: &measured}, nil
}

// poolModel is the gateway's pool of connections to MariaDB: servers with a queue.
func (j *judge) poolModel(ctx context.Context, w Window) (*Model, error) {
	v, err := j.numbers(ctx, w.To,
		`sum(livedrill_gateway_database_connections_limit{instance="gateway"})`,
		increase(`livedrill_gateway_database_busy_seconds_total{instance="gateway"}`, w),
		increase(`livedrill_gateway_database_waited_seconds_total{instance="gateway"}`, w))
	if err != nil || v == nil || v[0] == 0 {
		return nil, err
	}
	load, measured := v[1]/(w.To-w.From), v[2]/(w.To-w.From) // by Little's law
	m := &Model{Part: "requests that wait for a connection to MariaDB", Theory: "M/M/c", Load: load, Measured: &measured}
	// A pool that is full all the time shows what it serves, and not what it was offered.
	if predicted, ok := stats.QueueLength(int(v[0]), load); ok && load < 0.99*v[0] {
		m.Predicted = &predicted
	}
	return m, nil
}

// pathModel is the time to connect from the region that is furthest away, less that from the nearest: one round trip (RFC 9293, 3.5).
func (j *judge) pathModel(ctx context.Context, w Window) (*Model, error) {
	if len(j.Paths) == 0 {
		return nil, nil
	}
	rtt := map[string]float64{}
	regions, err := j.values(ctx, `livedrill_first_frame_phase_seconds{phase="connect"}`, "region")
	if err != nil || len(regions) < 2 {
		return nil, err
	}
	for _, p := range j.Paths {
		rtt[p.Region] = p.Measured
	}
	slices.SortStableFunc(regions, func(a, b string) int { return cmp.Compare(rtt[a], rtt[b]) })
	near, far := regions[0], regions[len(regions)-1]
	median := func(region string) string {
		return "histogram_quantile(0.5, " + increase(fmt.Sprintf(`livedrill_first_frame_phase_seconds{phase="connect",region=%q}`, region), w) + ")"
	}
	v, err := j.numbers(ctx, w.To, median(near), median(far))
	if err != nil || v == nil {
		return nil, err
	}
	predicted, measured := rtt[far]-rtt[near], v[1]-v[0]
	return &Model{Part: "time to connect, the furthest region less the nearest", Theory: "one round trip", Load: rtt[far], Unit: "seconds", Predicted: &predicted, Measured: &measured}, nil
}

// encoderModel is the encoders' input while they have less than they need: what comes in a second and cannot be encoded in it is added to
// what waits.
func (j *judge) encoderModel(ctx context.Context, f Fault) (*Model, error) {
	speed, ok := f.Measured["speed_ratio"]
	if !ok || f.Effective == nil || f.Restored == nil {
		return nil, nil
	}
	points, err := j.curve(ctx, "max(livedrill_transcode_backlog_seconds)")
	if err != nil || len(points) == 0 {
		return nil, err
	}
	predicted, measured := max(0, 1-speed)*(*f.Restored-*f.Effective), 0.0
	for _, p := range points {
		if p.T >= *f.Injected && p.T <= j.until(f) {
			measured = math.Max(measured, p.V)
		}
	}
	return &Model{Part: "media that waits for an encoder", Theory: "fluid", Load: speed, Unit: "seconds", Predicted: &predicted, Measured: &measured}, nil
}

// numbers evaluates several expressions; nil where one of them has no value.
func (j *judge) numbers(ctx context.Context, at float64, exprs ...string) ([]float64, error) {
	out := make([]float64, len(exprs))
	for i, expr := range exprs {
		v, err := j.number(ctx, expr, at)
		if err != nil || math.IsNaN(v) {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}
