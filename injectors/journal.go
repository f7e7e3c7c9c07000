package injectors

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/livedrill/livedrill/target"
)

// Entry is a line of the journal: a fault that is about to be injected, one that was restored, or one that could not be.
type Entry struct {
	Time     time.Time        `json:"time"`
	Fault    string           `json:"fault"`
	Restored bool             `json:"restored,omitempty"`
	GivenUp  bool             `json:"given_up,omitempty"`
	Until    time.Time        `json:"until,omitzero"` // when one of the two is there, whatever happens, unless the runner hangs
	Kind     string           `json:"kind,omitempty"`
	On       target.Component `json:"on,omitzero"`
	Settings json.RawMessage  `json:"settings,omitempty"`
	Was      Original         `json:"was,omitempty"`
}

// Journal is what livedrill recover finishes from: every fault is in it, on disk, before anything is changed.
type Journal struct{ file *os.File }

// OpenJournal opens or makes a journal.
func OpenJournal(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &Journal{file: f}, nil
}

// Write puts an entry on disk before it returns. It stands between two line ends: what is left of one that did not get there whole must not
// spoil the next.
func (j *Journal) Write(e Entry) error {
	e.Time = time.Now()
	line, err := json.Marshal(e)
	if err == nil {
		_, err = j.file.Write(slices.Concat([]byte{'\n'}, line, []byte{'\n'}))
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Close closes the journal.
func (j *Journal) Close() error { return j.file.Close() }

// Unfinished reads a journal and returns the faults that were never restored, the newest first. A torn line, left by a
// process that died while it wrote or by a full disk, stands for a fault that had not begun.
func Unfinished(path string) ([]Entry, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var open []Entry
	in := bufio.NewReader(bytes.NewReader(data))
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		var e Entry
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		at := slices.IndexFunc(open, func(o Entry) bool { return o.Fault == e.Fault })
		switch {
		case !e.Restored && !e.GivenUp:
			open = slices.Insert(open, 0, e)
		case at >= 0 && e.GivenUp:
			open[at].GivenUp = true
		case at >= 0:
			open = slices.Delete(open, at, at+1)
		}
	}
	return open, nil
}

// Overdue reads a journal and returns the faults whose runner hangs: they should be over, and nobody has given them up.
func Overdue(path string, now time.Time) ([]Entry, error) {
	open, err := Unfinished(path)
	return slices.DeleteFunc(open, func(e Entry) bool { return e.GivenUp || e.Until.IsZero() || now.Before(e.Until) }), err
}
