package record

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/livedrill/livedrill/reports/traces"
)

// opened is a directory as a run has it, with the traces of one process.
func opened(t *testing.T, dir, service string) *Traces {
	t.Helper()
	kept, err := OpenTraces(dir+"/"+traces.Dir, service)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// TestTracesAcrossProcesses: a client knows its request by a number, a server by the client's header, and both are one trace.
func TestTracesAcrossProcesses(t *testing.T) {
	dir := runDir(t)
	client, server := opened(t, dir, "load"), opened(t, dir, "gateway")
	now := time.Now()
	of := ThreadOf("shop-7", now)
	ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": of.Header()})
	tracer := server.Provider().Tracer("x")
	ctx, span := tracer.Start(ctx, "gift", trace.WithSpanKind(trace.SpanKindServer))
	_, below := tracer.Start(ctx, "setnx", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String(traces.Peer, "redis"), attribute.String("db.statement", "secret")))
	below.SetStatus(codes.Error, "OOM")
	below.End()
	span.SetStatus(codes.Error, "cache: OOM")
	span.End()
	client.Whole(of, traces.Span{Name: "gift", Kind: traces.Client, From: now, To: time.Now(), Failed: true, With: map[string]string{traces.Peer: "gateway"}})
	closed(t, client, server)

	spans := traces.Read(dir, func(time.Time) bool { return true })
	all := traces.Group(spans)
	if len(all) != 1 || len(all[0].Spans) != 3 {
		t.Fatalf("%d traces of %d spans: %+v", len(all), len(spans), spans)
	}
	if s, _ := all[0].Broken(); s.Hop() != "redis" || s.Why != "OOM" || len(s.With) != 1 {
		t.Errorf("it broke in %q: %q, with %v", s.Hop(), s.Why, s.With)
	}
}

// TestTracesKept: one usual trace in a hundred, all broken ones while they are few, and a bounded part of them when they are many.
func TestTracesKept(t *testing.T) {
	dir := runDir(t)
	kept := opened(t, dir, "gateway")
	start := time.Now()
	for i := range 3000 {
		kept.Whole(ThreadOf(fmt.Sprint("usual-", i), start), traces.Span{Name: "usual", From: start, To: start.Add(time.Millisecond)})
	}
	for i := range 3 {
		kept.Whole(ThreadOf(fmt.Sprint("broken-", i), start), traces.Span{Name: "broken", From: start, To: start, Failed: true})
	}
	for i := range 5000 {
		kept.Whole(ThreadOf(fmt.Sprint("storm-", i), start), traces.Span{Name: "storm", From: start, To: start, Failed: true})
	}
	closed(t, kept)
	seconds := int(time.Since(start).Seconds()) + 2 // that this took, at most
	count := map[string]int{}
	spans := traces.Read(dir, func(time.Time) bool { return true })
	for _, s := range spans {
		count[s.Name]++
	}
	if count["usual"] < 1 || count["usual"] > 60 || count["broken"] != 3 || count["storm"] < 1 || count["storm"] > seconds*tracedMost {
		t.Errorf("in %d s: %v", seconds, count)
	}
	kept.Whole(ThreadOf("late", start), traces.Span{Name: "late", Failed: true}) // after the end nothing is written, and nothing breaks
}

// TestNoTraces: without a directory nothing is kept, and nothing asks whether it is.
func TestNoTraces(t *testing.T) {
	kept, err := OpenTraces("", "x")
	if err != nil {
		t.Fatal(err)
	}
	_, span := kept.Provider().Tracer("x").Start(context.WithoutCancel(t.Context()), "x")
	span.End()
	kept.Whole(Thread{}, traces.Span{})
	kept.Part(Thread{}, traces.Span{})
	if kept.Traced(time.Now()) || kept.Close(t.Context()) != nil {
		t.Error("something was traced")
	}
	if _, err := OpenTraces(t.TempDir()+"/missing", "x"); err == nil {
		t.Error("a directory that is not there was taken")
	}
}

func runDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/"+traces.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func closed(t *testing.T, all ...*Traces) {
	t.Helper()
	for _, kept := range all {
		if err := kept.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkTracedRequest is what tracing adds to a request of the gateway that has two parts below it; kept one in a hundred.
func BenchmarkTracedRequest(b *testing.B) {
	dir := b.TempDir()
	if err := os.Mkdir(dir+"/"+traces.Dir, 0o700); err != nil {
		b.Fatal(err)
	}
	kept, err := OpenTraces(dir+"/"+traces.Dir, "gateway")
	if err != nil {
		b.Fatal(err)
	}
	tracer := kept.Provider().Tracer("x")
	for b.Loop() {
		ctx, span := tracer.Start(b.Context(), "room", trace.WithSpanKind(trace.SpanKindServer))
		for range 2 {
			_, below := tracer.Start(ctx, "get", trace.WithSpanKind(trace.SpanKindClient))
			below.End()
		}
		span.End()
	}
	if err := kept.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
