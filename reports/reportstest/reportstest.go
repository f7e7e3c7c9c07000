// Package reportstest writes run directories whose numbers are known, as a range writes them, without waiting for the time to
// pass. Tests of judging, of documents and of the gate stand on them.
package reportstest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/traces"
)

// Story is a run that never happened. Its load is steady: 100 viewers, 100 messages and 100 requests a second, 80 % of them in
// the north. In the fault phase a fault hurts what Hurt says.
type Story struct {
	Started   time.Time
	Warm      int // seconds of each phase
	Steady    int
	Fault     int
	Recovery  int
	Hurt      float64 // share of northern requests and messages that fail while the fault lasts, and of viewers' time stalled
	Slow      float64 // seconds of latency while the fault lasts; usually 10 ms
	Crowd     float64 // how many times as many people there are; 0: as many
	Noise     float64 // relative, of latencies and of processor time
	Cores     float64 // that the platform uses
	Seed      uint64
	LostGifts float64              // that were acknowledged during the fault and never come to the ledger
	SlowB     float64              // an A/B run whose b, with 30 % as many requests again, is so many times as slow; 0: none
	Signs     map[string]float64   // of the machine's health, by selector: a gauge's value, or what a counter grows by in a second
	Unmade    float64              // share of the arrivals that the load did not make
	Busy      func(at int) float64 // processors in use, by second; nil: half
	Unread    [2]int               // seconds between which nothing was read
	Series    int                  // more series, to make the record as large as a real one
	Change    func(*reports.Facts) // at the end
}

// Usual is a run of 120 s with a fault that hurts half of the north for 30 s.
func Usual() Story {
	return Story{Started: time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC), Warm: 10, Steady: 30, Fault: 40, Recovery: 40, Hurt: 0.5, Slow: 0.8, Cores: 0.5, Seed: 1}
}

// Short is Usual in half a minute, for what needs no windows.
func Short() Story {
	s := Usual()
	s.Warm, s.Steady, s.Fault, s.Recovery = 2, 8, 12, 8
	return s
}

// process is one process of the story with its metrics.
type process struct {
	name    string
	metrics *record.Metrics
}

// Write writes the run and returns its directory.
func (s Story) Write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := s.write(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s Story) write(ctx context.Context, dir string) error {
	db, err := record.OpenDatabase(filepath.Join(dir, "tsdb"))
	if err != nil {
		return err
	}
	total := s.Warm + s.Steady + s.Fault + s.Recovery
	faultFrom, faultTo := s.Warm+s.Steady, s.Warm+s.Steady+s.Fault-10
	rng := rand.New(rand.NewPCG(s.Seed, 2))
	north, south := s.region("north"), s.region("south")
	platform := &process{"gateway", record.NewMetrics()}
	cores := platform.metrics.Counter("livedrill_transcode_encoder_cpu_seconds_total", "x", nil)
	gifts := platform.metrics.Gauge("livedrill_ledger_gifts", "x", nil)
	platform.metrics.Gauge("livedrill_ledger_difference", "x", nil)
	platform.metrics.Gauge("livedrill_gateway_database_connections_limit", "x", nil).Set(2)
	used := platform.metrics.Counter("livedrill_gateway_database_busy_seconds_total", "x", nil)
	queued := platform.metrics.Counter("livedrill_gateway_database_waited_seconds_total", "x", nil)
	busy := platform.metrics.Gauge("livedrill_machine_busy_ratio", "x", nil)
	own := 0.0
	signs := s.signs(platform.metrics)
	platform.metrics.CounterFunc("livedrill_story_cpu_seconds_total", "x", nil, func() float64 { return own })
	var filler []*process
	for i := range s.Series / 50 {
		p := &process{fmt.Sprintf("filler-%d", i), record.NewMetrics()}
		for k := range 50 {
			p.metrics.Counter(fmt.Sprintf("livedrill_filler_%d_total", k), "x", nil)
		}
		filler = append(filler, p)
	}
	for at := range total + 1 {
		broken := at > faultFrom && at <= faultTo
		if at > 0 {
			noise := func() float64 { return 1 + s.Noise*rng.NormFloat64() }
			crowd := cmp.Or(s.Crowd, 1)
			north.second(80*crowd, broken, s, noise, rng)
			south.second(20*crowd, false, s, noise, rng)
			cores.Add(0.3 * noise())
			own += s.Cores * noise()
			signs()
			used.Add(1)
			queued.Add(0.5)
			ledger := north.gifts + south.gifts
			if at > faultFrom {
				ledger -= s.LostGifts
			}
			gifts.Set(ledger)
			if busy.Set(0.5); s.Busy != nil {
				busy.Set(s.Busy(at))
			}
		}
		if at > s.Unread[0] && at < s.Unread[1] {
			continue
		}
		now := s.Started.Add(time.Duration(at) * time.Second)
		for _, p := range append([]*process{&north.process, &south.process, platform}, filler...) {
			families, err := p.metrics.Gather()
			if err != nil {
				return err
			}
			families = storied(families)
			if err := db.Put(ctx, now, p.name, families); err != nil {
				return err
			}
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	return s.facts(dir, float64(faultFrom), float64(faultTo), float64(total))
}

// signs adds the machine's own, and gives what makes them a second older.
func (s Story) signs(m *record.Metrics) (second func()) {
	var all []func()
	for selector, v := range s.Signs {
		name, rest, _ := strings.Cut(selector, "{")
		labels := prometheus.Labels{}
		if key, value, ok := strings.Cut(strings.TrimSuffix(rest, "}"), "="); ok {
			labels[key] = strings.Trim(value, `"`)
		}
		if strings.HasSuffix(name, "_total") {
			c := m.Counter(name, "x", labels)
			all = append(all, func() { c.Add(v) })
		} else {
			m.Gauge(name, "x", labels).Set(v)
		}
	}
	return func() {
		for _, one := range all {
			one()
		}
	}
}

// storied leaves the numbers of the test's own process out, and gives the platform those of the story.
func storied(families []*dto.MetricFamily) (out []*dto.MetricFamily) {
	for _, f := range families {
		switch name := f.GetName(); {
		case name == "livedrill_story_cpu_seconds_total":
			f.Name = proto.String("process_cpu_seconds_total")
		case strings.HasPrefix(name, "process_"):
			continue
		}
		out = append(out, f)
	}
	return out
}

func (s Story) facts(dir string, from, to, total float64) error {
	second := func(v float64) *float64 { return &v }
	f := reports.Facts{Finished: true, Ready: 1, Windows: map[string]reports.Window{"f1": {From: from, To: to + 1}},
		Run: reports.Run{ID: fmt.Sprintf("%s-%d", s.Started.Format("20060102-150405"), s.Seed), Scenario: "known", Summary: "A run that never happened.", Cause: "network", Seed: s.Seed,
			Profile: "weak", Stack: strings.Repeat("ab", 32), TimeScale: 1, Started: s.Started, Duration: total, Version: "test", Machine: reports.Machine{Cores: 2, Kernel: "6.1", Cgroup: "version 2"}},
		Phases: []reports.Phase{{Name: "warm-up", From: 0, To: float64(s.Warm)}, {Name: "steady", From: float64(s.Warm), To: from},
			{Name: "fault", From: from, To: from + float64(s.Fault)}, {Name: "recovery", From: from + float64(s.Fault), To: total}},
		Faults: []reports.Fault{{ID: "f1", Kind: "network.loss", On: "edge-north", BackEnd: "nftables", Injected: second(from), Effective: second(from + 0.1),
			Restored: second(to), Undone: second(to + 0.02), Clean: second(to + 1), Asked: map[string]float64{"loss_ratio": 0.5}, Measured: map[string]float64{"loss_ratio": 0.49, "n": 2000},
			State: "restored"}},
		Workloads: []reports.Workload{{Name: "chat", Kind: "danmaku"}}, Verify: []string{"danmaku-accounting", "gift-ledger"},
		Targets: reports.Targets{RTO: 900, Availability: 0.9999}, Incidents: []reports.Incident{{Fault: "network.loss", PerMonth: 2, Lasts: 600}},
		Topology: []reports.Node{{Name: "edge-north", Kind: "edge", Region: "north"}, {Name: "gateway", Kind: "gateway"}}}
	for _, text := range []string{"api_error_ratio <= 1% during fault", "api_latency_seconds p99 <= 500ms during network.loss", "stall_ratio <= 50%",
		"danmaku_accept_ratio >= 99% during recovery", "danmaku_delivery_seconds p99 <= 1s", "ledger_mismatches == 0"} {
		o, err := reports.ParseObjective(text)
		if err != nil {
			return err
		}
		f.Objectives = append(f.Objectives, o)
	}
	if s.Change != nil {
		s.Change(&f)
	}
	if err := os.WriteFile(filepath.Join(dir, "scenario.yaml"), []byte("name: known\n"), 0o600); err != nil {
		return err
	}
	return errors.Join(s.traces(dir, from), f.Write(dir), reports.WriteManifest(dir))
}

// traces are pictures that reach the north through edge-north, late while the fault lasts, and gifts that Redis refuses then.
func (s Story) traces(dir string, from float64) error {
	var all []traces.Span
	at := func(second float64) time.Time { return s.Started.Add(time.Duration(second * float64(time.Second))) }
	add := func(trace, id, parent, name, peer string, from, took float64, failed bool) {
		x := traces.Span{Trace: trace, ID: id, Parent: parent, Name: name, Service: "gateway", Kind: traces.Client, From: at(from), To: at(from + took), Failed: failed,
			With: map[string]string{traces.Peer: peer}}
		if failed {
			x.Why = "no answer"
		}
		all = append(all, x)
	}
	for i := range 20 {
		second, late, broken := from-25+2*float64(i), 1.0, false
		if second > from {
			late, broken = 6.0, true
		}
		picture, gift := fmt.Sprintf("picture-%d", i), fmt.Sprintf("gift-%d", i)
		add(picture, "1", "", traces.Picture, "", second, 0.1, false)
		add(picture, "2", "1", "ingest", "ingest", second, 0.01, false)
		add(picture, "3", "1", "transcode", "transcode", second+0.01, 0.09, false)
		add(picture, "4", "1", traces.Watch, "edge-north", second, late, false)
		add(gift, "1", "", "gift", "gateway", second, 0.02, broken)
		add(gift, "2", "1", "setnx", "redis", second+0.01, 0.005, broken)
	}
	line, err := traces.Line("gateway", all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, traces.Dir), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, traces.Dir, "gateway.jsonl"), line, 0o644)
}

// region is the load of one region.
type region struct {
	process
	offered, achieved     prometheus.Counter
	due, written          prometheus.Counter
	accepted, refused     prometheus.Counter
	good, bad             prometheus.Counter
	owed, delivered       prometheus.Counter
	delivery              *record.Histogram
	ok, failed, gift      prometheus.Counter
	fast, slow            *record.Histogram
	watched, stalled      prometheus.Counter
	asked, denied         prometheus.Counter
	begun, ended          prometheus.Counter
	okB                   prometheus.Counter // of an A/B run
	fastB                 *record.Histogram
	roomDue, roomAccepted [2]prometheus.Counter
	gifts                 float64
}

func (s Story) region(name string) *region {
	m := record.NewMetrics()
	l := func(more ...string) prometheus.Labels {
		out := prometheus.Labels{"load": "chat", "region": name}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	r := &region{process: process{"load-chat-" + name, m},
		offered: m.Counter("livedrill_load_offered_total", "x", l()), achieved: m.Counter("livedrill_load_achieved_total", "x", l()),
		due: m.Counter("livedrill_danmaku_due_total", "x", l()), written: m.Counter("livedrill_danmaku_written_total", "x", l()), accepted: m.Counter("livedrill_danmaku_published_total", "x", l("result", "accepted")),
		refused: m.Counter("livedrill_danmaku_published_total", "x", l("result", "rejected")),
		good:    m.Counter("livedrill_danmaku_judged_total", "x", l("result", "good")), bad: m.Counter("livedrill_danmaku_judged_total", "x", l("result", "bad")), owed: m.Counter("livedrill_danmaku_owed_total", "x", l()),
		delivered: m.Counter("livedrill_danmaku_delivered_total", "x", l()), delivery: m.Histogram("livedrill_danmaku_delivery_seconds", "x", l()),
		ok: m.Counter("livedrill_api_requests_total", "x", l("route", "room", "outcome", "ok", "arm", "a")), failed: m.Counter("livedrill_api_requests_total", "x", l("route", "room", "outcome", "error", "arm", "a")),
		gift: m.Counter("livedrill_api_requests_total", "x", l("route", "gift", "outcome", "ok", "arm", "a")), fast: m.Histogram("livedrill_api_latency_seconds", "x", l("route", "room", "outcome", "ok", "arm", "a")),
		slow: m.Histogram("livedrill_api_latency_seconds", "x", l("route", "room", "outcome", "error", "arm", "a")), watched: m.Counter("livedrill_player_watched_seconds_total", "x", l()),
		stalled: m.Counter("livedrill_player_stalled_seconds_total", "x", l()), begun: m.Counter("livedrill_sessions_begun_total", "x", l("role", "viewer")), ended: m.Counter("livedrill_viewings_total", "x", l()),
		asked: m.Counter("livedrill_sessions_asked_seconds_total", "x", l()), denied: m.Counter("livedrill_sessions_denied_seconds_total", "x", l())}
	m.Counter("livedrill_viewings_stalled_total", "x", l())
	if s.SlowB > 0 {
		m.Counter("livedrill_api_requests_total", "x", l("route", "room", "outcome", "error", "arm", "b"))
		r.okB = m.Counter("livedrill_api_requests_total", "x", l("route", "room", "outcome", "ok", "arm", "b"))
		r.fastB = m.Histogram("livedrill_api_latency_seconds", "x", l("route", "room", "outcome", "ok", "arm", "b"))
	}
	m.Counter("livedrill_load_failed_total", "x", l("reason", "time-out"))
	m.Counter("livedrill_danmaku_published_total", "x", l("result", "unsent"))
	m.Gauge("livedrill_danmaku_in_flight", "x", l())
	m.Histogram("livedrill_load_lateness_seconds", "x", l())
	for i := range r.roomDue {
		room := fmt.Sprintf("room-%d", i)
		r.roomDue[i] = m.Counter("livedrill_danmaku_room_due_total", "x", l("room", room))
		r.roomAccepted[i] = m.Counter("livedrill_danmaku_room_accepted_total", "x", l("room", room))
	}
	return r
}

// second lets one second pass for n users.
func (r *region) second(n float64, broken bool, s Story, noise func() float64, rng *rand.Rand) {
	hurt, latency := 0.0, 0.010
	if broken {
		hurt, latency = s.Hurt, s.Slow
	}
	r.offered.Add(n)
	r.achieved.Add(n * (1 - s.Unmade))
	r.due.Add(n)
	r.written.Add(n)
	r.accepted.Add(n * (1 - hurt))
	r.refused.Add(n * hurt)
	r.good.Add(n * (1 - hurt))
	r.bad.Add(n * hurt)
	r.owed.Add(10 * n * (1 - hurt))
	r.delivered.Add(10 * n * (1 - hurt))
	r.ok.Add(n * (1 - hurt))
	r.failed.Add(n * hurt)
	r.gift.Add(1)
	r.gifts++
	r.watched.Add(n)
	r.stalled.Add(n * hurt)
	r.asked.Add(n)
	r.denied.Add(n * hurt)
	if r.gifts == 1 { // those who are there from the first second
		r.begun.Add(n)
	}
	r.begun.Add(n / 10)
	r.ended.Add(n / 10)
	r.roomDue[0].Add(n / 2)
	r.roomAccepted[0].Add(n / 2 * (1 - hurt)) // the hot room is the one that is hurt
	r.roomDue[1].Add(n / 2)
	r.roomAccepted[1].Add(n / 2)
	if r.okB != nil {
		r.okB.Add(n * 0.3)
		for range int(n * 0.3) {
			r.fastB.Observe(s.SlowB * latency * (0.5 + rng.Float64()))
		}
	}
	for range int(n) {
		d := latency * (0.5 + rng.Float64()) * max(noise(), 0.1)
		r.delivery.Observe(d)
		if rng.Float64() < hurt {
			r.slow.Observe(d)
		} else {
			r.fast.Observe(d)
		}
	}
}
