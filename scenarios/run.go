package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/traces"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/stack"
)

// Orders are what the first process of a range is told.
type Orders struct {
	ID        string      `json:"id"`
	File      string      `json:"file"`
	Text      []byte      `json:"text"`
	Sets      []string    `json:"sets"`
	Profile   string      `json:"profile"` // empty: the scenario's
	Seed      *uint64     `json:"seed"`    // nil: the scenario's
	TimeScale float64     `json:"time_scale"`
	NoFaults  bool        `json:"no_faults"`
	Dir       string      `json:"dir"` // the run directory
	Journal   string      `json:"journal"`
	Cache     string      `json:"cache"`
	Group     hosts.Group `json:"group"`
	Ordered   time.Time   `json:"ordered"` // when the user gave the command
	Version   string      `json:"version"`
	Root      bool        `json:"root"`
	Actor     string      `json:"actor"`    // whose command it was, for the audit log
	Terminal  bool        `json:"terminal"` // progress may move
	Keep      bool        `json:"keep"`     // no timeline: the platform stays until it is told to end
	Try       bool        `json:"try"`      // only say what can be done here
	Capture   bool        `json:"capture"`  // record the packets around each fault
	Exposed   []Exposed   `json:"exposed"`  // what the listeners behind the control socket lead to

	outside string // directory of sockets of a run without a range
}

// Resolve reads the scenario as it will be run.
func (o Orders) Resolve() (Scenario, error) {
	sets := o.Sets
	if o.Seed != nil { // before anything is drawn by it
		sets = append(slices.Clone(sets), fmt.Sprintf("seed=%d", *o.Seed))
	}
	s, err := Parse(o.File, o.Text, sets)
	if err != nil {
		return s, err
	}
	if o.Profile != "" {
		s.Target.Profile = o.Profile
	}
	if _, err := target.ProfileDefences(s.Target.Profile, s.Target.Defences); err != nil {
		return s, err
	}
	if o.NoFaults {
		s.LeaveFaultsOut()
	}
	if o.TimeScale == 1 {
		return s, nil
	}
	s.Scale(o.TimeScale)
	var errs []error
	for i, f := range s.Faults {
		for _, other := range s.Faults[:i] {
			if why := f.overlaps(other); why != "" {
				errs = append(errs, fmt.Errorf("--time-scale %g: %s %s, as a proof takes %s on any scale", o.TimeScale, f.ID, why, proofTime))
			}
		}
	}
	return s, errors.Join(errs...)
}

// drill is one run as the first process of its range drives it.
type drill struct {
	Orders
	story    Scenario
	always   context.Context // the record goes on whatever happens to the run
	events   *record.Events
	db       *record.Database
	scraper  *record.Scraper
	blind    chan error // says so when nothing is recorded any more; it has room for that
	stack    *stack.Stack
	runner   *injectors.Runner
	captures *captures // nil: nobody asked for any
	audit    *record.Audit
	start    time.Time
	wg       sync.WaitGroup
	mu       sync.Mutex
	phase    string  // that the timeline is in
	since    float64 // when it came there, Unix seconds
	measured float64 // when the warm-up was over
	facts    reports.Facts

	listening []net.Listener // control socket first; none where there is no range
}

// Run carries out a scenario inside a range, from its first process, and leaves the record in the run directory. It returns
// an error only when there is no record to be judged. watch is told of every event.
func Run(ctx context.Context, o Orders, watch func(record.Event)) (err error) {
	s, err := o.Resolve()
	if err != nil {
		return err
	}
	d := &drill{Orders: o, story: s, start: o.Ordered, always: context.WithoutCancel(ctx), blind: make(chan error, 1)}
	if o.outside == "" {
		if d.listening, err = o.listeners(); err != nil {
			return err
		}
	}
	if d.events, err = record.CreateEvents(filepath.Join(o.Dir, "events.jsonl"), d.start, watch); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.events.Close()) }()
	if d.db, err = record.OpenDatabase(filepath.Join(o.Dir, "tsdb")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.db.Close()) }()
	if d.audit, err = record.CreateAudit(filepath.Join(o.Dir, record.AuditFile)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.audit.Close()) }()
	if err := d.describe(); err != nil {
		return err
	}
	d.scraper = record.NewScraper(d.db)
	defer d.scraper.Close()
	journal, err := injectors.OpenJournal(o.Journal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	d.runner = &injectors.Runner{Journal: journal, Notify: d.note}

	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer d.wg.Wait()
	defer end()
	if o.outside != "" {
		d.record(background)
	} else if err := d.up(ctx, background); err != nil {
		if ctx.Err() == nil {
			return err
		}
		d.know(func(f *reports.Facts) { f.Interrupted = true })
		return d.finish()
	} else {
		defer d.stack.Down()
	}
	defer end()
	if o.Keep {
		return d.keep(ctx)
	}
	for _, l := range d.listening {
		d.wg.Go(func() {
			if err := record.ServeHTTP(background, l, d.responders(background)); err != nil {
				d.problem("control socket: %v", err)
			}
		})
	}
	if err := d.timeline(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	d.know(func(f *reports.Facts) { f.Interrupted = ctx.Err() != nil })
	return d.finish()
}

// note writes an event; those of faults are boundaries of the record.
func (d *drill) note(kind string, details map[string]any) {
	d.events.Add(kind, details)
	if strings.HasPrefix(kind, "fault.") || strings.HasPrefix(kind, "run.") {
		actor, _ := details["by"].(string)
		d.audit.Add(cmp.Or(actor, d.Actor), kind, details)
	}
	id, _ := details["fault"].(string)
	switch kind {
	case "component.ended", "component.lost":
		d.mu.Lock()
		defer d.mu.Unlock()
		said := fmt.Sprintf("%v ended by itself during the run and was started again", details["component"])
		if !slices.ContainsFunc(d.facts.Notes, func(n string) bool { return strings.HasPrefix(n, said) }) { // a fault may kill it every second
			d.facts.Notes = append(d.facts.Notes, fmt.Sprintf("%s: %v", said, details["error"]))
		}
	case "fault.inject", "fault.clean", "fault.not-restored":
		if details["late"] == true { // its effect had gone before
			return
		}
		at := d.boundary()
		d.packets(id, kind == "fault.inject")
		d.mu.Lock()
		defer d.mu.Unlock()
		w, begun := d.facts.Windows[id]
		if !begun {
			w.From = at
		}
		w.To = at
		d.facts.Windows[id] = w
	}
}

// boundary scrapes everything and returns the time of it, in seconds from the start.
func (d *drill) boundary() float64 {
	at, err := d.scraper.Scrape(d.always)
	if err != nil {
		d.problem("record: %v", err)
	}
	return at.Sub(d.facts.Run.Started).Seconds()
}

func (d *drill) problem(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.facts.Problems = append(d.facts.Problems, fmt.Sprintf(format, args...))
}

// up makes the range and brings the platform up in it.
func (d *drill) up(ctx, background context.Context) error {
	d.note("range.begin", map[string]any{"id": d.ID})
	r, err := hosts.Setup(d.Group)
	if err != nil {
		return err
	}
	r.Offload = !d.Keep && !slices.ContainsFunc(d.story.Faults, func(f Fault) bool { return strings.HasPrefix(f.Kind, "network.") })
	d.wg.Go(func() {
		for target.Wait(background, 250*time.Millisecond) {
			hosts.Reap()
		}
	})
	o, err := d.story.Platform()
	if err != nil {
		return err
	}
	if o.Secrets, err = stack.NewSecrets(); err != nil {
		return err
	}
	o.OpenKeys, o.Outside, o.Notify = d.Keep, d.mediaOutside(), d.note
	o.LogDir = filepath.Join(d.Dir, "logs")
	if !d.Keep { // nobody judges a kept range
		o.Traces = filepath.Join(d.Dir, traces.Dir)
	}
	d.stack, err = stack.Up(ctx, r, o)
	if err != nil {
		return err
	}
	d.know(func(f *reports.Facts) { f.Ready = time.Since(d.Ordered).Seconds() })
	if d.Capture {
		if err := d.capture(background, d.stack.Hosts()); err != nil {
			return err
		}
	}
	d.note("platform.ready", map[string]any{"profile": d.story.Target.Profile, "after_s": d.facts.Ready})
	d.wg.Go(func() { d.stack.Keep(background) })
	for _, c := range d.stack.Platform().Components {
		d.scraper.Add(c.Name, c.Socket)
	}
	own := filepath.Join(hosts.Base, "sock", "range")
	metrics := record.NewMetrics()
	if err := watchMachine(metrics, d.stack.Hosts()); err != nil {
		return err
	}
	watchSensors(metrics)
	watchCards(metrics)
	d.wg.Go(func() { watchDisks(background, metrics) })
	d.wg.Go(func() {
		if err := metrics.Serve(background, own, http.NewServeMux(), func(context.Context) error { return nil }); err != nil {
			d.problem("record: %v", err)
		}
	})
	d.scraper.AddSelf("range", own)
	d.record(background)
	return nil
}

// record scrapes every second until background ends.
func (d *drill) record(background context.Context) {
	d.wg.Go(func() {
		if err := d.scraper.Run(background, time.Second); err != nil {
			d.problem("record: %v", err)
			d.blind <- err
		}
	})
}
