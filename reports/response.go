package reports

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports/stats"
)

// Response is what followed one fault, on the run's clock. The times are T0 injected, T1 first bad window, T2 alert, T3
// acknowledged, T4 cause named, T5 mitigated, T6 first of three good windows, T7 verified; one that did not come, or that nobody
// could see in this run, is null.
type Response struct {
	Fault      string      `json:"fault"`
	T          [8]*float64 `json:"t_s"`
	Detect     *float64    `json:"time_to_detect_s"`      // T2 − T1
	Alert      *float64    `json:"time_to_acknowledge_s"` // T3 − T2
	Mitigate   *float64    `json:"time_to_mitigate_s"`    // T5 − T1
	Recover    *float64    `json:"time_to_recover_s"`     // T6 − T1
	RTO        *float64    `json:"rto_s"`                 // T6 − T1; 0 when objectives looked and none was hurt; null: not known
	RPORows    *float64    `json:"rpo_rows"`              // acknowledged gifts that the ledger never had; null: not known
	RPO        *float64    `json:"rpo_s"`                 // 0 when no row was lost, else the least that the oldest of those lost can be old; null: not known
	Mitigation string      `json:"mitigation,omitempty"`  // what acted at T5
	Stages     []Stage     `json:"stages,omitempty"`      // where people took part
	Hurt       []string    `json:"hurt"`                  // objectives
	Regions    []Blast     `json:"regions"`
	Rooms      []Blast     `json:"rooms"`
}

// Blast tells whether a part of the audience was hurt by a fault.
type Blast struct {
	Name     string  `json:"name"`
	Hit      bool    `json:"hit"`
	By       string  `json:"by,omitempty"` // the objective that shows it
	Worst    float64 `json:"worst"`
	Sessions float64 `json:"sessions"` // share of all sessions that a region has, and of all messages due that a room has, with its bounds
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
}

// mitigations are the signs by which a defence is seen to act: PromQL that rises above what it was at the injection.
var mitigations = []struct{ name, expr string }{
	{"edge-dispatch", `max(livedrill_dispatch_edge_sick)`},
	{"shed-renditions", `sum(livedrill_transcode_sheds_total)`},
	{"redis-fallback", `sum(livedrill_gateway_fallbacks_total) + sum(livedrill_danmaku_fallbacks_total)`},
	{"bounded-requests", `sum(livedrill_gateway_turned_away_total)`},
	{"bounded-queue", `sum(livedrill_queue_put_total{queue="later"})`},
	{"fresh-reads", `sum(livedrill_gateway_primary_reads_total)`},
	{"edge-serve-stale", `sum(livedrill_edge_requests_total{cache="STALE"})`},
}

// responses follows every fault from its injection to the proof that all is well again.
func (j *judge) responses(ctx context.Context, r *Result) error {
	for _, f := range r.Faults {
		if f.Injected == nil {
			continue
		}
		out := Response{Fault: f.ID, Hurt: []string{}, Regions: []Blast{}, Rooms: []Blast{}}
		out.T[0] = f.Injected
		whole, settled := 0.0, true
		for _, i := range r.Impact {
			if i.Fault != f.ID {
				continue
			}
			out.Hurt = append(out.Hurt, i.Objective)
			if first := *f.Injected + *i.Detected; out.T[1] == nil || first < *out.T[1] {
				out.T[1] = &first
			}
			if i.Whole == nil {
				settled = false
			} else {
				whole = max(whole, *f.Injected+*i.Whole)
			}
		}
		if len(out.Hurt) > 0 && settled {
			out.T[6] = &whole
		}
		if err := j.mitigated(ctx, f, &out); err != nil {
			return err
		}
		seen := f.State == "restored" && f.Clean != nil && *f.Clean <= j.until(f) && j.looked[f.ID] >= inARow
		if seen && (len(out.Hurt) == 0 || settled) {
			_, _, step := j.span(finest)
			verified := max(*f.Clean, whole+(inARow-1)*step.Seconds()) // the third good window
			out.T[7] = &verified
		}
		if err := j.blast(ctx, f, &out); err != nil {
			return err
		}
		if err := j.lost(ctx, f, &out); err != nil {
			return err
		}
		r.Responses = append(r.Responses, out)
	}
	return nil
}

// spans fills in the differences of the times, once the alerts are known.
func (j *judge) spans(_ context.Context, result *Result) error {
	for i := range result.Responses {
		r := &result.Responses[i]
		r.Detect, r.Alert, r.Mitigate, r.Recover = between(r.T[1], r.T[2]), between(r.T[2], r.T[3]), between(r.T[1], r.T[5]), between(r.T[1], r.T[6])
		if r.RTO = r.Recover; len(r.Hurt) == 0 && r.T[7] != nil { // somebody looked, and saw nothing hurt
			none := 0.0
			r.RTO = &none
		}
	}
	return nil
}

// between is the time from one moment to another; null where one did not come.
func between(from, to *float64) *float64 {
	if from == nil || to == nil {
		return nil
	}
	d := *to - *from
	return &d
}

// mitigated finds the first defence that is seen to act after a fault.
func (j *judge) mitigated(ctx context.Context, f Fault, out *Response) error {
	family, _, _ := strings.Cut(f.Kind, ".")
	for _, m := range mitigations {
		on, ok := j.on(m.name)
		if !ok || !slices.Contains(remedies[family], m.name) {
			continue
		}
		points, err := j.curve(ctx, m.expr)
		if err != nil {
			return err
		}
		before := math.Inf(1)
		for _, p := range points {
			switch {
			case p.T <= *f.Injected:
				before = p.V
			case p.T > j.until(f) || p.T < on:
			case p.V > before && (out.T[5] == nil || p.T < *out.T[5]):
				out.T[5], out.Mitigation = &p.T, m.name
			}
			if p.V < before {
				before = p.V
			}
		}
	}
	return nil
}

// on tells since when a defence was on: from the beginning, or when somebody had turned it on.
func (j *judge) on(defence string) (since float64, ever bool) {
	if slices.Contains(j.Run.Defences, defence) {
		return 0, true
	}
	for _, m := range j.Remarks {
		if m.Defence == defence && m.Done != nil {
			return *m.Done, true
		}
	}
	return 0, false
}

// blast finds the regions and rooms that a fault hurt.
func (j *judge) blast(ctx context.Context, f Fault, out *Response) error {
	regions, err := j.values(ctx, "livedrill_load_offered_total", "region")
	if err != nil {
		return err
	}
	all, err := j.last(ctx, "sum(livedrill_sessions_begun_total)")
	if err != nil {
		return err
	}
	for _, region := range regions {
		b := Blast{Name: region}
		for _, o := range j.Objectives {
			sli, ok := FindSLI(o.SLI)
			if !ok || sli.Apart || !slices.Contains(out.Hurt, o.Name) {
				continue
			}
			im, hurt, err := j.follow(ctx, f, o, sli.In("region", region))
			if err != nil {
				return err
			}
			if hurt && !b.Hit {
				b.Hit, b.By, b.Worst = true, o.Name, im.Worst
			}
		}
		own, err := j.last(ctx, fmt.Sprintf("sum(livedrill_sessions_begun_total{region=%q})", region))
		if err != nil {
			return err
		}
		if all > 0 && own >= 0 {
			b.Sessions = own / all
			b.Low, b.High = stats.Wilson(own, all)
		}
		out.Regions = append(out.Regions, b)
	}
	rooms, err := j.values(ctx, "livedrill_danmaku_room_due_total", "room")
	if err != nil {
		return err
	}
	sli := SLI{Name: "room", Late: true, Good: "livedrill_danmaku_room_accepted_total", Total: "livedrill_danmaku_room_due_total"}
	due, err := j.last(ctx, "sum("+sli.Total+")")
	if err != nil {
		return err
	}
	limit := Objective{Name: "messages accepted in the room", Op: ">=", Threshold: 0.99}
	for _, o := range j.Objectives {
		if o.SLI == "danmaku_accept_ratio" {
			limit.Threshold, limit.Op = o.Threshold, o.Op
		}
	}
	for _, room := range rooms {
		im, hurt, err := j.follow(ctx, f, limit, sli.In("room", room))
		if err != nil {
			return err
		}
		b := Blast{Name: room, Hit: hurt}
		if hurt {
			b.By, b.Worst = limit.Name, im.Worst
		}
		own, err := j.last(ctx, "sum("+where(sli.Total, "room", room)+")")
		if err != nil {
			return err
		}
		if due > 0 {
			b.Sessions = own / due
			b.Low, b.High = stats.Wilson(own, due)
		}
		out.Rooms = append(out.Rooms, b)
	}
	return nil
}

// lost finds the acknowledged writes that were never seen in the ledger: what more is missing than before the injection, and the
// ledger has not caught up with by the end of the run. Gifts that were committed and not acknowledged would hide as many lost
// ones: with such gifts nothing is claimed.
func (j *judge) lost(ctx context.Context, f Fault, out *Response) error {
	if f.Restored == nil {
		return nil
	}
	missing, err := j.curve(ctx, `sum(livedrill_api_requests_total{route="gift",outcome="ok"}) - sum(livedrill_ledger_gifts{instance="gateway"})`)
	if err != nil {
		return err
	}
	unsure, err := j.number(ctx, increase(`livedrill_api_requests_total{route="gift",outcome!="ok"}`, Window{j.abs(*f.Injected), j.abs(j.Run.Duration)}), j.abs(j.Run.Duration))
	if err != nil {
		return err
	}
	before, least := 0.0, math.Inf(1)
	for _, p := range missing {
		switch {
		case p.T <= *f.Injected:
			before = p.V
		case p.T >= *f.Restored:
			least = min(least, p.V)
		}
	}
	if math.IsInf(least, 1) || unsure > 0 {
		return nil
	}
	rows := max(0, least-max(before, 0))
	out.RPORows = &rows
	if rows == 0 {
		none := 0.0
		out.RPO = &none
		return nil
	}
	acknowledged, err := j.curve(ctx, `sum(livedrill_api_requests_total{route="gift",outcome="ok"})`)
	if err != nil {
		return err
	}
	for _, p := range missing {
		if p.T > *f.Injected && p.V >= before+rows { // by now all of them were lost
			out.RPO = oldest(acknowledged, p.T, rows)
			break
		}
	}
	return nil
}

// oldest is how old the oldest of so many lost writes is at least: were it the newest ones that were lost, they would be as many as were
// acknowledged since then.
func oldest(acknowledged []Point, lost, rows float64) *float64 {
	upTo := 0.0
	for _, p := range acknowledged {
		if p.T <= lost {
			upTo = p.V
		}
	}
	for _, p := range slices.Backward(acknowledged) {
		if p.T <= lost && p.V <= upTo-rows {
			age := lost - p.T
			return &age
		}
	}
	return nil
}

// values lists the values of a label, in order.
func (j *judge) values(ctx context.Context, metric, label string) ([]string, error) {
	vector, err := j.db.Query(ctx, fmt.Sprintf("count by (%s) (%s)", label, metric), clockOf(j.abs(j.Run.Duration)))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range vector {
		if v := s.Metric.Get(label); v != "" {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b string) int { // room-10 comes after room-9
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return out, nil
}

// last evaluates PromQL at the run's end; nothing is 0.
func (j *judge) last(ctx context.Context, expr string) (float64, error) {
	end := j.abs(j.Run.Duration)
	v, err := j.number(ctx, expr, end)
	if math.IsNaN(v) {
		v = 0
	}
	return v, err
}
