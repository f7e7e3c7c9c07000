package record

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/livedrill/livedrill/reports/traces"
)

// Traces are one process's traces: through which parts a request or a picture went, from when to when, and what became of it there. What is
// kept is one in a hundred, and of those that failed or took long a few a second. A nil *Traces keeps nothing.
type Traces struct {
	provider *sdktrace.TracerProvider
	keeper   *keeper
}

const (
	// tracedOneOf is how many usual traces there are to one that is kept.
	tracedOneOf = 100
	// tracedSlow is the time from which on a trace is kept for it.
	tracedSlow = 250 * time.Millisecond
	// tracedFreely is how many a second of those that failed or took long are all kept; of more it is one in tracedRest.
	tracedFreely = 4
	tracedRest   = 4
	// tracedMost bounds what is kept in a second of either sort.
	tracedMost = 8
)

// OpenTraces keeps the traces of a process in a file in dir; an empty dir keeps none. A process that was started again goes on with its file.
func OpenTraces(dir, service string) (*Traces, error) {
	if dir == "" {
		return nil, nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("traces: there is no directory %s", dir)
	}
	k := &keeper{path: filepath.Join(dir, service+".jsonl"), service: service, open: map[string][]traces.Span{}}
	return &Traces{sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(k)), k}, nil
}

// Provider is for what traces by itself.
func (t *Traces) Provider() trace.TracerProvider {
	if t == nil {
		return noop.NewTracerProvider()
	}
	return t.provider
}

// Close ends the file, and tells what went wrong while it was written.
func (t *Traces) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(context.WithoutCancel(ctx))
}

// Thread is a trace that every process finds which sees the same thing, without being told of it.
type Thread struct{ trace, first string }

// ThreadOf finds the trace of what happened to a thing that began at a time.
func ThreadOf(thing string, at time.Time) Thread {
	h := fnv.New128a()
	io.WriteString(h, thing) //nolint:errcheck // a hash takes everything
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], uint64(at.UnixMicro()))
	h.Write(raw[:8])
	id := hex.EncodeToString(h.Sum(raw[:0]))
	return Thread{id, id[16:]}
}

// Header is the value of traceparent (W3C Trace Context, 3.2), by which a server's spans become parts of the thread.
func (t Thread) Header() string { return "00-" + t.trace + "-" + t.first + "-01" }

// Traced tells whether pictures that were sent at a time are among those whose way is kept.
func (t *Traces) Traced(sent time.Time) bool {
	return t != nil && mixed(uint64(sent.UnixMicro()))%tracedOneOf == 0
}

// Whole takes in a thread's first span with those below it, once they are over.
func (t *Traces) Whole(of Thread, first traces.Span, parts ...traces.Span) {
	if t == nil {
		return
	}
	for _, p := range parts {
		t.keeper.end(of.part(p), false)
	}
	first.Trace, first.ID = of.trace, of.first
	t.keeper.end(first, true)
}

// Part takes in a span below a thread's first one, which is another process's, once it is over.
func (t *Traces) Part(of Thread, s traces.Span) {
	if t != nil {
		t.keeper.end(of.part(s), true)
	}
}

func (t Thread) part(s traces.Span) traces.Span {
	s.Trace, s.ID, s.Parent = t.trace, fmt.Sprintf("%016x", rand.Uint64()|1), t.first
	return s
}

// keeper writes what is worth keeping. It is a sdktrace.SpanProcessor.
type keeper struct {
	service string
	path    string
	mu      sync.Mutex
	file    *os.File // nil until there is something to write
	closed  bool
	err     error
	open    map[string][]traces.Span // by trace: parts whose first span in this process is not over
	second  int64
	hurt    int    // traces of this second that failed or took long
	before  int    // the same in the second before
	kept    [2]int // of this second: usual ones, hurt ones
}

// openMost bounds the traces that are waited for.
const openMost = 10_000

// end takes in a span that is over. A trace's fate is decided when its first span in this process is.
func (k *keeper) end(s traces.Span, first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !first {
		if len(k.open) >= openMost { // most are of traces whose first span was over before them
			clear(k.open)
		}
		k.open[s.Trace] = append(k.open[s.Trace], s)
		return
	}
	spans := append(k.open[s.Trace], s)
	delete(k.open, s.Trace)
	if k.err == nil && !k.closed && k.worth(spans) {
		k.err = k.write(spans)
	}
}

func (k *keeper) write(spans []traces.Span) (err error) {
	if k.file == nil {
		if k.file, err = os.OpenFile(k.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
			return err
		}
	}
	line, err := traces.Line(k.service, spans)
	if err == nil {
		_, err = k.file.Write(line)
	}
	return err
}

// worth tells whether a trace is kept. Its number decides where there are many, so that all processes keep the same ones.
func (k *keeper) worth(spans []traces.Span) bool {
	if now := time.Now().Unix(); now != k.second {
		k.second, k.before, k.hurt, k.kept = now, k.hurt, 0, [2]int{}
	}
	var raw [8]byte
	_, _ = hex.Decode(raw[:], []byte(spans[0].Trace[:16])) // it was written by us
	number := mixed(binary.BigEndian.Uint64(raw[:]))
	_, picture := spans[0].With[traces.Channel] // is one in a hundred already
	sort, keep := 0, picture || number%tracedOneOf == 0
	if !picture && slices.ContainsFunc(spans, func(s traces.Span) bool { return s.Failed || s.To.Sub(s.From) > tracedSlow }) {
		k.hurt++
		few := k.before <= tracedFreely && k.hurt <= tracedFreely
		sort, keep = 1, few || number%tracedRest == 0
	}
	if !keep || k.kept[sort] >= tracedMost {
		return false
	}
	k.kept[sort]++
	return true
}

// mixed spreads numbers that follow each other (the finaliser of MurmurHash3).
func mixed(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// OnStart is part of sdktrace.SpanProcessor.
func (k *keeper) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd is part of sdktrace.SpanProcessor.
func (k *keeper) OnEnd(s sdktrace.ReadOnlySpan) {
	out := traces.Span{Trace: s.SpanContext().TraceID().String(), ID: s.SpanContext().SpanID().String(), Name: s.Name(), Kind: int(s.SpanKind()),
		From: s.StartTime(), To: s.EndTime(), Failed: s.Status().Code == codes.Error, Why: s.Status().Description, With: map[string]string{}}
	if s.Parent().IsValid() {
		out.Parent = s.Parent().SpanID().String()
	}
	for _, a := range s.Attributes() {
		if a.Key == traces.Peer { // libraries have much to say that is no news
			out.With[traces.Peer] = a.Value.Emit()
		}
	}
	k.end(out, !s.Parent().IsValid() || s.Parent().IsRemote())
}

// ForceFlush is part of sdktrace.SpanProcessor: nothing waits.
func (k *keeper) ForceFlush(context.Context) error { return nil }

// Shutdown is part of sdktrace.SpanProcessor.
func (k *keeper) Shutdown(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.file == nil {
		return k.err
	}
	k.closed = true
	return errors.Join(k.err, k.file.Close())
}
