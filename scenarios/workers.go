package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/traces"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/stack"
	"github.com/livedrill/livedrill/target/unit"
)

const (
	// connectTime is between the start of the workers and the start of their load.
	connectTime = 2 * time.Second
	// drainTime is how long workers may take to settle after their plan.
	drainTime = 8 * time.Second
)

// workers are the processes that make the load: one for each workload and region.
type workers struct{ list []*worker }

type worker struct {
	name, socket string
	process      running
}

// running is something that makes load: a process on a host, or a part of this one where there is no range.
type running interface {
	Failed() error
	Stop(grace time.Duration)
}

// startWorkers starts every worker on the host of its region, and waits until all can be read.
func (d *drill) startWorkers(ctx context.Context, begin time.Time) (*workers, error) {
	all := &workers{}
	for _, l := range d.story.Load {
		from := 0.0
		for _, region := range stack.Regions {
			share, ok := l.Regions[region]
			if !ok || share == 0 {
				continue
			}
			slice := loadgen.Slice{From: from, To: from + float64(share), Index: l.Segment.Index, Count: l.Segment.Count}
			from = slice.To
			w, err := d.startWorker(l, region, slice, begin)
			if err != nil {
				return all, err
			}
			all.list = append(all.list, w)
		}
	}
	for _, w := range all.list {
		if err := w.ready(ctx, begin); err != nil {
			return all, fmt.Errorf("%w\n%s", err, d.lastLines(w.name))
		}
		d.scraper.Add(w.name, w.socket)
	}
	return all, nil
}

func (d *drill) startWorker(l Workload, region string, slice loadgen.Slice, begin time.Time) (*worker, error) {
	file := "load-" + l.Name + "-" + region
	spec := loadgen.Spec{Name: l.Name, Kind: l.Kind, Region: region, Slice: slice, Seed: d.story.Seed, Start: begin,
		For: unit.Duration(d.story.Length()), Settings: l.Generator, Cache: d.Cache}
	if d.outside != "" {
		spec.Socket = filepath.Join(d.outside, file)
		return &worker{file, spec.Socket, runHere(d.always, spec, l.Generator)}, nil
	}
	spec.Socket, spec.Platform, spec.TraceDir = filepath.Join(hosts.Base, "sock", file), d.stack.Platform(), filepath.Join(d.Dir, traces.Dir)
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	path := filepath.Join(hosts.Base, "conf", file+".json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	host, ok := d.stack.Host(stack.ViewerHost(region))
	if !ok {
		return nil, fmt.Errorf("%s: no host for the region", file)
	}
	process, err := host.Start(hosts.Command{Name: file, Path: "/proc/self/exe", Args: []string{"worker", "--spec", path},
		Log: filepath.Join(d.Dir, "logs", file+".log")})
	return &worker{file, spec.Socket, process}, err
}

// ready waits until the worker answers.
func (w *worker) ready(ctx context.Context, begin time.Time) error {
	for {
		err := target.Component{Socket: w.socket}.Healthy(ctx)
		if err == nil {
			return nil
		}
		if failed := w.process.Failed(); failed != nil {
			return failed
		}
		if time.Now().After(begin.Add(5*time.Second)) || !target.Wait(ctx, 20*time.Millisecond) {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
}

// failed tells whether a worker has ended by itself.
func (all *workers) failed() error {
	for _, w := range all.list {
		if err := w.process.Failed(); err != nil {
			return err
		}
	}
	return nil
}

// wait returns when every worker's plan is over and settled.
func (all *workers) wait(ctx context.Context) { all.ask(ctx, drainTime, http.MethodGet, "/done") }

// halt ends every worker's load before its time. Their numbers stay to be read.
func (all *workers) halt(ctx context.Context) { all.ask(ctx, haltTime, http.MethodPost, "/stop") }

// haltTime is how long a run that is being given up waits for that.
const haltTime = 500 * time.Millisecond

// ask sends all workers a request, and returns when each has answered, or after a limit. One that does not answer has ended, and failed tells.
func (all *workers) ask(ctx context.Context, limit time.Duration, method, path string) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range all.list {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(ctx, method, "http://unix"+path, nil)
			if err != nil {
				return
			}
			if resp, err := record.Client(w.socket).Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
}

// stop ends every worker.
func (all *workers) stop() {
	var wg sync.WaitGroup
	for _, w := range all.list {
		wg.Go(func() { w.process.Stop(2 * time.Second) })
	}
	wg.Wait()
}
