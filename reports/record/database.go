package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// Database is the run's time series, a Prometheus TSDB on disk. Prometheus itself can read it.
type Database struct {
	db     *tsdb.DB
	close  func() error
	engine *promql.Engine
	refs   map[string]storage.SeriesRef
}

// lookback is how old a sample may be and still count as the value now. Scrapes come each second; five missed ones mean
// that a process is gone.
const lookback = 5 * time.Second

// OpenDatabase opens or makes the database in dir.
func OpenDatabase(dir string) (*Database, error) {
	options := tsdb.DefaultOptions()
	options.RetentionDuration = int64(365 * 24 * time.Hour / time.Millisecond)
	options.WALCompression = "snappy"
	options.StripeSize = 256
	options.OutOfOrderTimeWindow = options.RetentionDuration // results of rules come long after the scrapes
	db, err := tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, options, nil)
	if err != nil {
		return nil, fmt.Errorf("time series in %s: %w", dir, err)
	}
	return &Database{db: db, close: db.Close, engine: newEngine(), refs: map[string]storage.SeriesRef{}}, nil
}

// ReadDatabase opens the database of a run that has ended. It reads a copy: Prometheus writes to what it opens, and a stored
// run stays as it is. Files that are foreign, by their paths within dir, are not read.
func ReadDatabase(dir string, foreign ...string) (*Database, error) {
	scratch, err := os.MkdirTemp("", "livedrill-read")
	if err != nil {
		return nil, err
	}
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !e.Type().IsRegular() {
			err = fmt.Errorf("%s is no ordinary file", path)
		}
		return err
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("time series in %s: %w", dir, err), os.RemoveAll(scratch))
	}
	if err := os.CopyFS(filepath.Join(scratch, "tsdb"), os.DirFS(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("time series in %s: %w", dir, err), os.RemoveAll(scratch))
	}
	for _, file := range foreign {
		if err := os.Remove(filepath.Join(scratch, "tsdb", file)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(scratch))
		}
	}
	d, err := OpenDatabase(filepath.Join(scratch, "tsdb"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(scratch))
	}
	inner := d.close
	d.close = func() error { return errors.Join(inner(), os.RemoveAll(scratch)) }
	return d, nil
}

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: lookback,
		EnableAtModifier: true, EnableNegativeOffset: true})
}

// Close closes the database.
func (d *Database) Close() error { return errors.Join(d.engine.Close(), d.close()) }

// Query evaluates a PromQL expression at a time.
func (d *Database) Query(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
	q, err := d.engine.NewInstantQuery(ctx, d.db, nil, expr, at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, fmt.Errorf("%s: %w", expr, result.Err)
	}
	switch v := result.Value.(type) {
	case promql.Vector:
		out := make(promql.Vector, len(v))
		copy(out, v)
		return out, nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	default:
		return nil, fmt.Errorf("%s: gives a %s where one number is needed", expr, result.Value.Type())
	}
}

// QueryRange evaluates a PromQL expression from one time to another in steps.
func (d *Database) QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
	q, err := d.engine.NewRangeQuery(ctx, d.db, nil, expr, from, to, step)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, fmt.Errorf("%s: %w", expr, result.Err)
	}
	matrix, err := result.Matrix()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	out := make(promql.Matrix, len(matrix))
	for i, s := range matrix {
		out[i] = promql.Series{Metric: s.Metric, Floats: append([]promql.FPoint(nil), s.Floats...)}
		for _, p := range s.Histograms { // the engine uses its own again
			out[i].Histograms = append(out[i].Histograms, promql.HPoint{T: p.T, H: p.H.Copy()})
		}
	}
	return out, nil
}

// Add puts samples that were computed, as by a recording rule, beside those that were scraped. It is for the copy that a
// stored run is judged from.
func (d *Database) Add(ctx context.Context, samples promql.Vector, at time.Time) error {
	if len(samples) == 0 {
		return nil
	}
	app := d.db.Appender(ctx)
	for _, s := range samples {
		var err error
		if s.H != nil {
			_, err = app.AppendHistogram(0, s.Metric, at.UnixMilli(), nil, s.H)
		} else {
			_, err = app.Append(0, s.Metric, at.UnixMilli(), s.F)
		}
		// A rule that gives the same series twice, or an older one again, says nothing new.
		if errors.Is(err, storage.ErrDuplicateSampleForTimestamp) || errors.Is(err, storage.ErrOutOfOrderSample) {
			err = nil
		}
		if err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	return app.Commit()
}

// Put stores the metrics of one process as read at a time.
func (d *Database) Put(ctx context.Context, at time.Time, instance string, families []*dto.MetricFamily) error {
	b := d.begin(ctx, at.UnixMilli())
	errs := []error{b.value("up", instance, nil, 1)}
	for _, f := range families {
		errs = append(errs, b.family(instance, f))
	}
	return errors.Join(append(errs, b.commit())...)
}

// batch is one round of samples, all with the same time stamp.
type batch struct {
	d   *Database
	app storage.Appender
	t   int64
}

func (d *Database) begin(ctx context.Context, t int64) *batch {
	return &batch{d: d, app: d.db.Appender(ctx), t: t}
}

func (b *batch) commit() error { return b.app.Commit() }

// value appends one sample of a series.
func (b *batch) value(name, instance string, pairs []*dto.LabelPair, v float64) error {
	key, ref := b.d.ref(name, instance, pairs)
	got, err := b.app.Append(ref, b.d.labels(ref, name, instance, pairs), b.t, v)
	b.d.refs[key] = got
	return err
}

func (b *batch) family(instance string, family *dto.MetricFamily) error {
	var errs []error
	for _, m := range family.Metric {
		switch {
		case m.Counter != nil:
			errs = append(errs, b.value(family.GetName(), instance, m.Label, m.Counter.GetValue()))
		case m.Gauge != nil:
			errs = append(errs, b.value(family.GetName(), instance, m.Label, m.Gauge.GetValue()))
		case m.Histogram != nil && m.Histogram.Schema != nil:
			key, ref := b.d.ref(family.GetName(), instance, m.Label)
			got, err := b.app.AppendHistogram(ref, b.d.labels(ref, family.GetName(), instance, m.Label), b.t,
				native(m.Histogram), nil)
			b.d.refs[key] = got
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ref finds the number that the database gave a series when it was first written.
func (d *Database) ref(name, instance string, pairs []*dto.LabelPair) (string, storage.SeriesRef) {
	var key strings.Builder
	key.WriteString(name)
	key.WriteByte(0)
	key.WriteString(instance)
	for _, p := range pairs {
		key.WriteByte(0)
		key.WriteString(p.GetName())
		key.WriteByte(1)
		key.WriteString(p.GetValue())
	}
	return key.String(), d.refs[key.String()]
}

// labels are needed only the first time, or when the database forgot the number.
func (d *Database) labels(ref storage.SeriesRef, name, instance string, pairs []*dto.LabelPair) labels.Labels {
	if ref != 0 {
		return labels.EmptyLabels()
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	b.Set(model.MetricNameLabel, name)
	b.Set("instance", instance)
	for _, p := range pairs {
		b.Set(p.GetName(), p.GetValue())
	}
	return b.Labels()
}

// native converts a histogram from its wire form to the database's; both hold the same spans and deltas.
func native(h *dto.Histogram) *histogram.Histogram {
	out := &histogram.Histogram{
		Schema:          h.GetSchema(),
		ZeroThreshold:   h.GetZeroThreshold(),
		ZeroCount:       h.GetZeroCount(),
		Count:           h.GetSampleCount(),
		Sum:             h.GetSampleSum(),
		PositiveBuckets: h.PositiveDelta,
		NegativeBuckets: h.NegativeDelta,
	}
	for _, s := range h.PositiveSpan {
		out.PositiveSpans = append(out.PositiveSpans, histogram.Span{Offset: s.GetOffset(), Length: s.GetLength()})
	}
	for _, s := range h.NegativeSpan {
		out.NegativeSpans = append(out.NegativeSpans, histogram.Span{Offset: s.GetOffset(), Length: s.GetLength()})
	}
	return out
}
