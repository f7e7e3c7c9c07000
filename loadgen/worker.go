package loadgen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// Work runs a worker: its generator, and its metrics on the spec's socket until ctx ends. GET /done answers when the
// generator has carried out its plan, and POST /stop ends that before its time.
func Work(ctx context.Context, spec Spec, g Generator) (err error) {
	m := NewMeter(spec)
	if m.Traces, err = record.OpenTraces(spec.TraceDir, "load-"+spec.Name+"-"+spec.Region); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Traces.Close(ctx)) }()
	done := make(chan struct{})
	planned, stop := context.WithCancel(ctx)
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /stop", func(http.ResponseWriter, *http.Request) { stop() })
	mux.HandleFunc("GET /done", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-done:
		case <-r.Context().Done():
		}
	})
	return target.Together(ctx,
		func(ctx context.Context) error {
			return m.Serve(ctx, spec.Socket, mux, func(context.Context) error { return nil })
		},
		func(ctx context.Context) error {
			err := g.Run(planned, spec.Platform, m)
			close(done)
			if err != nil {
				return fmt.Errorf("%s: %w", spec.Name, err)
			}
			<-ctx.Done() // the numbers stay to be read
			return nil
		})
}

// ReadSpec reads a worker's spec. The settings are left for the kind to read.
func ReadSpec(text []byte) (Spec, json.RawMessage, error) {
	var settings json.RawMessage
	spec := Spec{Settings: &settings}
	if err := json.Unmarshal(text, &spec); err != nil {
		return spec, nil, fmt.Errorf("worker's spec: %w", err)
	}
	return spec, settings, nil
}
