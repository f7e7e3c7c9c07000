package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// State is what is known, outside, of a run that goes on: enough to finish it when its process has died.
type State struct {
	ID        string            `json:"id"`
	Name      string            `json:"name,omitempty"` // of a kept range
	PID       int               `json:"pid"`            // of the process outside the range
	Started   string            `json:"started"`        // when that process was started: numbers are used again
	Dir       string            `json:"dir"`
	Cgroup    target.Cgroup     `json:"cgroup"`
	Endpoints map[string]string `json:"endpoints,omitempty"`
	Profile   string            `json:"profile,omitempty"`
}

// StateDir is where the states of this user's runs are.
func StateDir() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		if os.Geteuid() == 0 {
			dir = "/var/lib"
		} else {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", err
			}
			dir = filepath.Join(home, ".local", "state")
		}
	}
	dir = filepath.Join(dir, "livedrill")
	return dir, os.MkdirAll(dir, 0o700)
}

// NewState begins the state of a run by this process.
func NewState(id, dir string) (State, error) {
	s := State{ID: id, PID: os.Getpid(), Dir: dir}
	started, err := startOf(s.PID)
	s.Started = started
	return s, err
}

// startOf tells one process from a later one of the same number: the boot, and the kernel's own count of when in it the
// process was started (proc(5), field 22 of stat).
func startOf(pid int) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", fmt.Errorf("process %d has ended, and nobody has asked how", pid)
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[19], nil
}

// Alive tells whether the process that made the run still lives.
func (s State) Alive() bool {
	started, err := startOf(s.PID)
	return err == nil && started == s.Started
}

func (s State) path(suffix string) (string, error) {
	dir, err := StateDir()
	return filepath.Join(dir, s.ID+suffix), err
}

// JournalPath is where the run's journal is.
func (s State) JournalPath() (string, error) { return s.path(".journal") }

// Control gives use the path of the run's control socket. It belongs to the user alone, as its folder does. The kernel wants short paths,
// so the folder is reached by a descriptor.
func (s State) Control(use func(path string) error) error {
	dir, err := StateDir()
	if err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return use(fmt.Sprintf("/proc/self/fd/%d/%d-%s.sock", folder.Fd(), s.PID, filepath.Base(s.Started)))
}

// Write puts the state on disk whole.
func (s State) Write() error {
	path, err := s.path(".json")
	if err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Remove takes the state, the journal and the control socket away.
func (s State) Remove() error {
	var errs []error
	err := s.Control(os.Remove)
	if !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, suffix := range []string{".journal", ".json", ".json.new"} {
		path, err := s.path(suffix)
		if err == nil {
			err = os.Remove(path)
		}
		if !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// RemoveKept removes the directory of a kept range. Its audit log stays, beside the states, if something was done to the platform: who did it
// is often asked for later.
func (s State) RemoveKept() error {
	text, err := os.ReadFile(filepath.Join(s.Dir, record.AuditFile))
	if err == nil && len(text) > 0 {
		var kept string
		if kept, err = s.AuditPath(); err == nil {
			err = os.MkdirAll(filepath.Dir(kept), 0o700)
		}
		if err == nil {
			err = os.WriteFile(kept, text, 0o600)
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // it may have died before there was one
		return fmt.Errorf("audit log: %w", err)
	}
	return os.RemoveAll(s.Dir)
}

// AuditPath is where the audit log of a kept range is when it has ended.
func (s State) AuditPath() (string, error) {
	dir, err := StateDir()
	return filepath.Join(dir, "audit", s.ID+".jsonl"), err
}

// States lists the states of all runs of this user.
func States() ([]State, error) {
	dir, err := StateDir()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var out []State
	var errs []error
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var s State
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err == nil && s.ID != strings.TrimSuffix(filepath.Base(f), ".json") {
			err = errors.New("it is of another run")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
			continue
		}
		out = append(out, s)
	}
	return out, errors.Join(errs...)
}

// FindRange returns the kept range of a name.
func FindRange(name string) (State, error) {
	all, err := States()
	died := false
	for _, s := range all {
		if s.Name == name && s.Alive() {
			return s, nil
		}
		died = died || s.Name == name
	}
	if err != nil {
		return State{}, err
	}
	if died {
		return State{}, fmt.Errorf("the range %q has died: livedrill recover puts back what it left", name)
	}
	return State{}, fmt.Errorf("no range %q is up: livedrill target up makes one", name)
}

// FindRun returns the drill that goes on, of this id if there is one.
func FindRun(id string) (State, error) {
	all, err := States()
	all = slices.DeleteFunc(all, func(s State) bool { return s.Name != "" || !s.Alive() || id != "" && s.ID != id })
	if len(all) == 1 {
		return all[0], nil
	}
	if err != nil {
		return State{}, err
	}
	if len(all) == 0 {
		return State{}, errors.New("no drill is going on")
	}
	var ids []string
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	return State{}, fmt.Errorf("several drills are going on: say which with --run: %s", strings.Join(ids, ", "))
}

// NewID names a run by its time and scenario.
func NewID(scenario string, at time.Time) string {
	return at.Format("20060102-150405") + fmt.Sprintf("-%03d-", at.Nanosecond()/1e6) + scenario
}
