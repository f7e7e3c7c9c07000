package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/injectors"
	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/target/hosts"
)

// Recovered is what Recover put back for one run.
type Recovered struct {
	ID   string   `json:"id"`
	Dir  string   `json:"dir"`
	Did  []string `json:"did"`
	Left string   `json:"left,omitempty"` // what could not be put back
}

// did notes something. A fault that was left open twice is one to whoever reads it.
func (r *Recovered) did(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.Did, text) {
		r.Did = append(r.Did, text)
	}
}

// Recover finishes every run of this user whose process has died.
func Recover(ctx context.Context) ([]Recovered, error) {
	states, err := States()
	out := []Recovered{}
	errs := []error{err} // a state that cannot be read does not keep the others from being finished
	for _, s := range states {
		if s.Alive() {
			continue
		}
		r := Recovered{ID: s.ID, Dir: s.Dir}
		if err := recoverOne(ctx, s, &r); err != nil {
			r.Left = err.Error()
			errs = append(errs, fmt.Errorf("%s: %w", s.ID, err))
		}
		out = append(out, r)
	}
	left, err := leftOutside()
	return append(out, left...), errors.Join(append(errs, err)...)
}

// leftOutside removes the directories that loads outside of a range had, and whose processes have died.
func leftOutside() (out []Recovered, err error) {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), "livedrill-[0-9]*-*"))
	for _, dir := range dirs {
		var pid int
		var rest string
		if n, _ := fmt.Sscanf(filepath.Base(dir), "livedrill-%d-%s", &pid, &rest); n < 2 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		if info, e := os.Lstat(dir); e != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
			continue // it is somebody else's
		}
		err = errors.Join(err, os.RemoveAll(dir))
		out = append(out, Recovered{ID: filepath.Base(dir), Dir: dir, Did: []string{"a load's directory removed"}})
	}
	return out, err
}

// restoreLasting puts back what faults of a run have changed beyond its range.
func restoreLasting(ctx context.Context, s State, r *Recovered) error {
	journal, err := s.JournalPath()
	if err != nil {
		return err
	}
	open, err := injectors.Unfinished(journal)
	if err != nil {
		return err
	}
	var errs []error // one that cannot be put back does not keep the others from it
	for _, e := range open {
		errs = append(errs, r.restore(ctx, e))
	}
	return errors.Join(errs...)
}

// restore puts back what one fault has changed beyond its range.
func (r *Recovered) restore(ctx context.Context, e injectors.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	kind, ok := faultkinds.Find(e.Kind)
	if !ok {
		return fmt.Errorf("the journal has a fault of kind %q, which this version does not know", e.Kind)
	}
	fault := kind.Default()
	if lasting, ok := fault.(injectors.Lasting); !ok || !lasting.Lasts(e.Was) {
		r.did("%s on %s ended with its range", e.Kind, e.On.Name)
		return nil
	}
	err := ReadSettings(e.Settings, fault)
	if err == nil {
		err = fault.Restore(ctx, e.On, e.Was)
	}
	if err != nil {
		return fmt.Errorf("%s on %s: %w; by hand: %s", e.Kind, e.On.Name, err, injectors.Mend(fault, e.On, e.Was))
	}
	r.did("%s on %s restored", e.Kind, e.On.Name)
	return nil
}

func recoverOne(ctx context.Context, s State, r *Recovered) error {
	if err := restoreLasting(ctx, s, r); err != nil {
		return err
	}
	if s.Cgroup.Version == 0 {
		s.Cgroup = hosts.GroupOf(groupName(s.ID))
	}
	if s.Name != "" { // a kept range has no report: its directory goes with it
		if err := s.RemoveKept(); err != nil {
			return err
		}
	}
	if err := finish(ctx, s); err != nil {
		return err
	}
	if s.Cgroup.Version > 0 {
		r.Did = append(r.Did, "cgroups removed")
	}
	r.Did = append(r.Did, "state removed")
	return nil
}
