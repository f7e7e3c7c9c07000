package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/livedrill/livedrill/injectors"
	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/stack"
)

// MetricsRoute is what a listener leads to that answers with the metrics of the whole platform.
const MetricsRoute = "metrics"

// Exposed is a listener outside a kept range.
type Exposed struct {
	To string `json:"to"` // what it leads to
	At string `json:"at"` // HOST:PORT outside
}

// mediaOutside gives the addresses outside at which the media of components can be reached.
func (o Orders) mediaOutside() map[string]string {
	out := map[string]string{}
	for _, e := range o.Exposed {
		if name, port, err := net.SplitHostPort(e.To); err == nil && port == strconv.Itoa(target.PortMedia) {
			out[name] = e.At
		}
	}
	return out
}

// InjectOrder asks a kept range for a fault.
type InjectOrder struct {
	Kind     string          `json:"kind"`
	On       string          `json:"on"`
	For      time.Duration   `json:"for"`
	Settings json.RawMessage `json:"settings"`
	By       string          `json:"by"` // whose command it is
}

// InjectResult is what became of it.
type InjectResult struct {
	Kind     string             `json:"kind"`
	On       string             `json:"on"`
	BackEnd  string             `json:"back_end"`
	Asked    map[string]float64 `json:"asked"`
	Measured map[string]float64 `json:"measured"`
	AtEnd    map[string]float64 `json:"at_end"`
	After    map[string]float64 `json:"after"`
	N        uint64             `json:"n"`
	State    string             `json:"state"`
	Faded    string             `json:"faded,omitempty"` // why it was not in effect any more at its end
	Error    string             `json:"error,omitempty"`
	Mend     string             `json:"mend,omitempty"` // of one that is not restored: the command that does it by hand
}

// Health is one component of a kept range.
type Health struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Region  string `json:"region,omitempty"`
	Healthy bool   `json:"healthy"`
	Detail  string `json:"detail,omitempty"`
}

// keep holds the platform up for hands-on work, until ctx ends or the control socket says so.
func (d *drill) keep(ctx context.Context) error {
	ctx, down := context.WithCancel(ctx)
	defer down()
	parts := []func(context.Context) error{func(ctx context.Context) error { <-ctx.Done(); return nil }}
	for i, e := range append([]Exposed{{To: "control"}}, d.Exposed...) {
		to, l := e.To, d.listening[i]
		switch to {
		case "control":
			parts = append(parts, func(ctx context.Context) error { return record.ServeHTTP(ctx, l, d.control(ctx, down)) })
		case MetricsRoute:
			parts = append(parts, func(ctx context.Context) error { return record.ServeHTTP(ctx, l, d.scraper.Handler()) })
		default:
			parts = append(parts, func(ctx context.Context) error { return forward(ctx, l, to) })
		}
	}
	d.note("platform.kept", nil)
	return target.Together(ctx, parts...)
}

// control answers the commands that work on a kept range.
func (d *drill) control(ctx context.Context, down context.CancelFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		var out []Health
		for _, c := range d.stack.Platform().Components {
			h := Health{Name: c.Name, Kind: c.Kind, Region: c.Region, Healthy: true}
			if err := c.Healthy(r.Context()); err != nil {
				h.Healthy, h.Detail = false, err.Error()
			}
			out = append(out, h)
		}
		_ = json.NewEncoder(w).Encode(out) // the client has gone: nothing to do
	})
	mux.HandleFunc("POST /down", func(http.ResponseWriter, *http.Request) { down() })
	byHand := &injectors.Group{Runner: d.runner}
	mux.HandleFunc("POST /restore", func(http.ResponseWriter, *http.Request) { byHand.End() })
	mux.HandleFunc("POST /inject", func(w http.ResponseWriter, r *http.Request) {
		var o InjectOrder
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		order, err := d.order(o)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		started := byHand.Start(ctx, order)
		// The fault ends when the client goes away, and all do when the range does.
		defer context.AfterFunc(r.Context(), started.End)()
		defer context.AfterFunc(ctx, func() { byHand.End() })()
		out := started.Outcome()
		if out.Injected.IsZero() { // it was refused, and nothing was changed
			http.Error(w, out.Err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(resultOf(out)) // as above
	})
	return mux
}

// order makes of what was asked for what the runner understands.
func (d *drill) order(o InjectOrder) (out injectors.Order, err error) {
	kind, ok := faultkinds.Find(o.Kind)
	if !ok {
		return out, fmt.Errorf("no fault %q", o.Kind)
	}
	platform := d.stack.Platform()
	on, err := platform.Find(o.On)
	if err != nil {
		err = fmt.Errorf("%w%s", err, reports.Nearest(o.On, platform.Names()))
	}
	if err != nil && o.On == stack.ReplicaName {
		err = fmt.Errorf("%w; livedrill target up --replica has one", err)
	}
	if err != nil {
		return out, err
	}
	if !kind.Fits(on.Kind) {
		return out, fmt.Errorf("%s works on %s, and %s is of kind %s", kind.Name, kind.Where(), on.Name, on.Kind)
	}
	fault := kind.Default()
	err = ReadSettings(o.Settings, fault)
	Fault{ID: o.Kind + " on " + o.On, Fault: fault}.drawBy(d.story.Seed) // by hand there is no other name for it
	return injectors.Order{ID: fmt.Sprintf("by-hand-%d", time.Now().UnixNano()), Kind: o.Kind, Fault: fault, On: on, For: o.For, Takes: kind.Takes, By: o.By}, err
}

func resultOf(out injectors.Outcome) InjectResult {
	result := InjectResult{Kind: out.Kind, On: out.On.Name, BackEnd: out.BackEnd, Asked: out.Measured.Asked, Measured: out.Measured.Is,
		After: out.After.Is, N: out.Measured.N, State: out.State, Mend: out.Mend}
	if out.State == injectors.NotInjected {
		result.Error = out.Measured.Reason
	}
	if out.AtEnd != nil {
		if result.AtEnd = out.AtEnd.Is; !out.AtEnd.Bites {
			result.Faded = out.AtEnd.Reason
		}
	}
	if out.Err != nil {
		result.Error = out.Err.Error()
	}
	return result
}

// ReadSettings puts settings, as JSON or YAML, into a fault or a load over its defaults, as strictly as a scenario's.
func ReadSettings(text []byte, into any) error {
	if len(text) == 0 {
		text = []byte("{}")
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	d := &decoder{}
	d.decode(doc.Content[0], reflect.ValueOf(into), "")
	if len(d.problems) == 0 {
		d.validate(doc.Content[0], into, "")
	}
	if len(d.problems) > 0 {
		return d.problems
	}
	return nil
}

// forward carries connections from a listener outside to an address inside.
func forward(ctx context.Context, l net.Listener, to string) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		outside, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		wg.Go(func() {
			defer outside.Close()
			inside, err := new(net.Dialer).DialContext(ctx, "tcp", to)
			if err != nil {
				return
			}
			defer inside.Close()
			stop := context.AfterFunc(ctx, func() { outside.Close(); inside.Close() })
			defer stop()
			splice(outside, inside)
		})
	}
}

// splice carries bytes both ways until both sides are done.
func splice(a, b net.Conn) {
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			_, _ = io.Copy(way[1], way[0]) // a broken connection ends both directions
			if half, ok := way[1].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	wg.Wait()
}
