package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Event is one thing that happened in a run: when, in seconds from the start, what, and its details.
type Event struct {
	T       float64        `json:"t"`
	Kind    string         `json:"kind"`
	Details map[string]any `json:"-"`
}

// MarshalJSON puts the details beside t and kind, in one flat object.
func (e Event) MarshalJSON() ([]byte, error) {
	flat := make(map[string]any, len(e.Details)+2)
	for k, v := range e.Details {
		flat[k] = v
	}
	flat["t"], flat["kind"] = e.T, e.Kind
	return json.Marshal(flat)
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (e *Event) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &e.Details); err != nil {
		return err
	}
	var ok bool
	if e.T, ok = e.Details["t"].(float64); !ok {
		return errors.New(`an event has no time "t"`)
	}
	if e.Kind, ok = e.Details["kind"].(string); !ok {
		return errors.New(`an event has no "kind"`)
	}
	delete(e.Details, "t")
	delete(e.Details, "kind")
	return nil
}

// Events is the event log of a run. It may be used from many goroutines.
type Events struct {
	start time.Time
	mu    sync.Mutex
	file  *os.File
	err   error
	watch func(Event)
}

// CreateEvents starts the log of a run that began at start. watch, if any, is told of every event as it is written.
func CreateEvents(path string, start time.Time, watch func(Event)) (*Events, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	return &Events{start: start, file: f, watch: watch}, nil
}

// Add writes an event with the time now. A write error is kept for Close.
func (l *Events) Add(kind string, details map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := Event{T: float64(time.Since(l.start).Microseconds()) / 1e6, Kind: kind, Details: details}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	l.err = errors.Join(l.err, err)
	if l.watch != nil {
		l.watch(e)
	}
}

// Close ends the log and returns whatever went wrong while it was written.
func (l *Events) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.file.Close())
}

// ReadEvents reads a log. A torn last line, left by a run that died, is passed over and reported as torn.
func ReadEvents(path string) (events []Event, torn bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, fmt.Errorf("event log: %w", err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return events, len(line) > 0, nil
		}
		if err != nil {
			return events, false, fmt.Errorf("event log: %w", err)
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return events, false, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		events = append(events, e)
	}
}
