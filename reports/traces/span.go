// Package traces writes and reads a run's traces: files of OTLP in JSON, one batch a line (OpenTelemetry, "OTLP File Exporter"), which
// collectors and trace viewers take as they are.
package traces

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Dir is where a run directory has its traces, one file for each process.
const Dir = "traces"

// Span is one piece of work, in one process.
type Span struct {
	Trace   string // 32 hexadecimal digits
	ID      string // 16
	Parent  string // empty for the first span of a trace
	Service string // the process
	Name    string
	Kind    int
	From    time.Time
	To      time.Time
	Failed  bool
	Why     string // it failed
	With    map[string]string
}

// The kinds of spans.
const (
	Internal = 1
	Server   = 2
	Client   = 3
)

// The names of the spans of a picture: its way to where it leaves the transcoder, and its way to one viewer.
const (
	Picture = "picture"
	Watch   = "watch"
)

// Attributes that a judge reads.
const (
	Peer    = "peer.service" // the other end of a client's span
	Channel = "channel"      // whose picture it is
)

// failed is STATUS_CODE_ERROR.
const failed = 2

// The messages of OTLP (opentelemetry/proto/trace/v1), as far as they are used, in their JSON form: identifiers in hexadecimal, 64-bit
// numbers as text.
type (
	batch struct {
		Resources []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource struct {
			Attributes []attribute `json:"attributes"`
		} `json:"resource"`
		Scopes []scopeSpans `json:"scopeSpans"`
	}
	scopeSpans struct {
		Scope struct {
			Name string `json:"name"`
		} `json:"scope"`
		Spans []span `json:"spans"`
	}
	span struct {
		TraceID    string      `json:"traceId"`
		SpanID     string      `json:"spanId"`
		Parent     string      `json:"parentSpanId,omitempty"`
		Name       string      `json:"name"`
		Kind       int         `json:"kind"`
		From       string      `json:"startTimeUnixNano"`
		To         string      `json:"endTimeUnixNano"`
		Attributes []attribute `json:"attributes,omitempty"`
		Status     struct {
			Code    int    `json:"code,omitempty"`
			Message string `json:"message,omitempty"`
		} `json:"status"`
	}
	attribute struct {
		Key   string `json:"key"`
		Value struct {
			Text string `json:"stringValue"`
		} `json:"value"`
	}
)

func text(key, value string) (a attribute) {
	a.Key, a.Value.Text = key, value
	return a
}

// Line is one batch of one process's spans, with the end of the line.
func Line(service string, spans []Span) ([]byte, error) {
	r := resourceSpans{Scopes: make([]scopeSpans, 1)}
	r.Resource.Attributes = []attribute{text("service.name", service)}
	r.Scopes[0].Scope.Name = "livedrill"
	for _, s := range spans {
		out := span{TraceID: s.Trace, SpanID: s.ID, Parent: s.Parent, Name: s.Name, Kind: s.Kind,
			From: strconv.FormatInt(s.From.UnixNano(), 10), To: strconv.FormatInt(s.To.UnixNano(), 10)}
		if s.Failed {
			out.Status.Code, out.Status.Message = failed, s.Why
		}
		for key, value := range s.With {
			out.Attributes = append(out.Attributes, text(key, value))
		}
		r.Scopes[0].Spans = append(r.Scopes[0].Spans, out)
	}
	line, err := json.Marshal(batch{[]resourceSpans{r}})
	return append(line, '\n'), err
}

// Most bounds the spans that are read of a run: about 100 MB of them.
const Most = 100_000

// Read reads the traces of a run that began at times that are asked for, at most Most spans. What a process that was killed had half
// written is left out, and so are files that cannot be read: a verdict does not stand on them.
func Read(dir string, wanted func(time.Time) bool) (out []Span) {
	files, err := filepath.Glob(filepath.Join(dir, Dir, "*.jsonl"))
	if err != nil {
		return nil // no pattern is wrong
	}
	for _, path := range files {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		read(f, func(s Span) bool {
			if wanted(s.From) {
				out = append(out, s)
			}
			return len(out) < Most
		})
		_ = f.Close() // it was only read
	}
	return out
}

// longest is how long a line may be.
const longest = 4 << 20

// read gives the spans of one file to take, until it has enough.
func read(f io.Reader, take func(Span) bool) {
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		var b batch
		if json.Unmarshal(lines.Bytes(), &b) != nil {
			continue
		}
		for _, r := range b.Resources {
			service := ""
			for _, a := range r.Resource.Attributes {
				if a.Key == "service.name" {
					service = a.Value.Text
				}
			}
			for _, scope := range r.Scopes {
				for _, s := range scope.Spans {
					if read, ok := s.span(service); ok && !take(read) {
						return
					}
				}
			}
		}
	}
}

// span tells false of one that cannot be: without an identity, or that ended before it began.
func (s span) span(service string) (Span, bool) {
	from, err := strconv.ParseInt(s.From, 10, 64)
	to, also := strconv.ParseInt(s.To, 10, 64)
	if err != nil || also != nil || to < from || s.TraceID == "" || s.SpanID == "" || s.SpanID == s.Parent {
		return Span{}, false
	}
	out := Span{Trace: s.TraceID, ID: s.SpanID, Parent: s.Parent, Service: service, Name: s.Name, Kind: s.Kind,
		From: time.Unix(0, from), To: time.Unix(0, to), Failed: s.Status.Code == failed, Why: s.Status.Message, With: map[string]string{}}
	for _, a := range s.Attributes {
		out.With[a.Key] = a.Value.Text
	}
	return out, true
}
