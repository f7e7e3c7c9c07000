package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"
)

// accept asks for the protobuf form, the only one that carries native histograms.
const accept = `application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited`

// Scraper reads the metrics of every process of a run, all at one time stamp, and puts them in the database.
type Scraper struct {
	db      *Database
	mu      sync.Mutex
	targets map[string]*http.Client
	rounds  sync.Mutex // one round at a time: samples of a series must come in order
	last    int64
	silent  int // rounds in a row in which nobody answered
	self    string
}

// NewScraper makes a scraper without targets.
func NewScraper(db *Database) *Scraper {
	return &Scraper{db: db, targets: map[string]*http.Client{}}
}

// Add makes the scraper read the process that serves its metrics on the Unix socket, as instance.
func (s *Scraper) Add(instance, socket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets[instance] = &http.Client{Transport: &http.Transport{DialContext: dialSocket(socket), MaxIdleConns: 1,
		DisableCompression: true}}
}

// silence is for how many rounds in a row nobody may answer: one can fall into a moment in which the machine does not run.
const silence = 2

// AddSelf is Add for the process that scrapes: that it answers does not say that anybody can be heard.
func (s *Scraper) AddSelf(instance, socket string) {
	s.Add(instance, socket)
	s.self = instance
}

// Run scrapes every interval until ctx ends, the database takes no more, or no target at all answers any more: either way nothing is recorded.
func (s *Scraper) Run(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_, err := s.Scrape(ctx)
			s.rounds.Lock()
			if err == nil && s.silent >= silence {
				err = fmt.Errorf("no process but this one has given its metrics for %d rounds", s.silent)
			}
			s.rounds.Unlock()
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// Close gives the connections back.
func (s *Scraper) Close() {
	for _, c := range s.targets {
		c.CloseIdleConnections()
	}
}

// Scrape reads every target once and returns the one time stamp that all samples of the round carry. A target that does
// not answer within 900 ms gets up = 0; that is a gap of the record and no error.
func (s *Scraper) Scrape(ctx context.Context) (time.Time, error) {
	s.rounds.Lock()
	defer s.rounds.Unlock()
	now := time.Now()
	if now.UnixMilli() <= s.last {
		now = time.UnixMilli(s.last + 1)
	}
	s.last = now.UnixMilli()
	limited, cancel := context.WithTimeout(ctx, 900*time.Millisecond)
	defer cancel()

	s.mu.Lock()
	results := make(chan reading, len(s.targets))
	count := len(s.targets)
	for name, client := range s.targets {
		go func() {
			families, err := fetch(limited, client)
			results <- reading{name, families, err}
		}()
	}
	s.mu.Unlock()

	batch := s.db.begin(ctx, s.last)
	var errs []error
	answers := 0
	for range count {
		r := <-results
		up := 1.0
		if r.err != nil {
			up = 0
		} else if r.instance != s.self {
			answers++
		}
		errs = append(errs, batch.value("up", r.instance, nil, up))
		for _, family := range r.families {
			errs = append(errs, batch.family(r.instance, family))
		}
	}
	if s.silent++; answers > 0 || count < 2 || ctx.Err() != nil {
		s.silent = 0
	}
	errs = append(errs, batch.commit())
	return now.Truncate(time.Millisecond), errors.Join(errs...)
}

type reading struct {
	instance string
	families []*dto.MetricFamily
	err      error
}

func fetch(ctx context.Context, client *http.Client) ([]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://unix/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", resp.Status)
	}
	var out []*dto.MetricFamily
	decoder := expfmt.NewDecoder(resp.Body, expfmt.ResponseFormat(resp.Header))
	for {
		family := &dto.MetricFamily{}
		switch err := decoder.Decode(family); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("metrics: %w", err)
		}
		out = append(out, family)
	}
}

// Handler answers with the metrics of all targets together, each with its instance, to any Prometheus.
func (s *Scraper) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		targets := maps.Clone(s.targets)
		s.mu.Unlock()
		merged := map[string]*dto.MetricFamily{}
		for _, name := range slices.Sorted(maps.Keys(targets)) {
			families, err := fetch(r.Context(), targets[name])
			if err != nil {
				continue // it is not up; the others are still worth reading
			}
			for _, f := range families {
				for _, m := range f.Metric {
					m.Label = append(m.Label, &dto.LabelPair{Name: proto.String("instance"), Value: proto.String(name)})
				}
				if known := merged[f.GetName()]; known != nil {
					known.Metric = append(known.Metric, f.Metric...)
				} else {
					merged[f.GetName()] = f
				}
			}
		}
		format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
		w.Header().Set("Content-Type", string(format))
		encoder := expfmt.NewEncoder(w, format)
		for _, name := range slices.Sorted(maps.Keys(merged)) {
			if err := encoder.Encode(merged[name]); err != nil {
				return
			}
		}
	})
	return mux
}
