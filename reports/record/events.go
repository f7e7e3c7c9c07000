package record

import (
	"encoding/json"
	"errors"
	"fmt"
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
func (e *Event) UnmarshalJSON(text []byte) error {
	known := struct {
		T    *float64
		Kind *string
	}{&e.T, &e.Kind}
	if err := json.Unmarshal(text, &known); err != nil {
		return err
	}
	e.Details = nil
	if err := json.Unmarshal(text, &e.Details); err != nil {
		return err
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
	if l.err == nil { // the others would say the same
		l.err = err
	}
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
