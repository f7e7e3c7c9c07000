package record

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// AuditFile is the name of the audit log in a run directory.
const AuditFile = "audit.jsonl"

// Audit is the log of who did what to the platform, when, with which effect. Every line carries the sum of the line before it: one
// that is changed or taken out breaks the chain from there on. It may be used from many goroutines.
type Audit struct {
	mu   sync.Mutex
	file *os.File
	last string
	err  error
}

// AuditEntry is one line.
type AuditEntry struct {
	Time    time.Time      `json:"time"`
	Actor   string         `json:"actor"`  // whose command it was
	Action  string         `json:"action"` // as in events
	Details map[string]any `json:"details,omitempty"`
	Before  string         `json:"before"`        // sum of the line before; empty on the first
	Sum     string         `json:"sum,omitempty"` // SHA-256 of this line without the sum
}

// sum is that of an entry as it is written, without its own.
func (e AuditEntry) sum() (string, error) {
	e.Sum = ""
	text, err := json.Marshal(e)
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:]), err
}

// CreateAudit begins a log.
func CreateAudit(path string) (*Audit, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Audit{file: f}, nil
}

// Add writes an entry, and puts it on disk. An error is kept for Close.
func (a *Audit) Add(actor, action string, details map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := AuditEntry{Time: time.Now().UTC(), Actor: actor, Action: action, Details: details, Before: a.last}
	var err error
	if e.Sum, err = e.sum(); err == nil {
		var line []byte
		if line, err = json.Marshal(e); err == nil {
			if _, err = a.file.Write(append(line, '\n')); err == nil {
				err = a.file.Sync()
			}
		}
	}
	if err != nil {
		a.err = errors.Join(a.err, err)
		return
	}
	a.last = e.Sum
}

// Close ends the log and returns whatever went wrong while it was written.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := errors.Join(a.err, a.file.Close()); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

// CheckAudit reads a log and returns the first break of its chain, if there is one.
func CheckAudit(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	last := ""
	for n := 1; lines.Scan(); n++ {
		var e AuditEntry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("line %d is no entry: %w", n, err)
		}
		sum, err := e.sum()
		if err != nil {
			return err
		}
		switch {
		case sum != e.Sum:
			return fmt.Errorf("line %d was changed: its sum is another", n)
		case e.Before != last:
			return fmt.Errorf("before line %d something was taken out or put in", n)
		}
		last = e.Sum
	}
	return lines.Err()
}
