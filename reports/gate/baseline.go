package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/reports"
)

// BaselineSchema names the form of a baseline file.
const BaselineSchema = "livedrill.baseline/v1"

// baseline is a file of runs' numbers, a few kilobytes, for a git repository or a CI cache.
type baseline struct {
	Schema string `json:"schema"`
	Runs   []Run  `json:"runs"`
}

// Load reads runs from paths: run directories, folders of run directories, and baseline files. Runs are in the order of the
// paths, and of their names within a folder.
func Load(ctx context.Context, paths []string) ([]Run, error) {
	var out []Run
	var errs []error
	for _, p := range paths {
		runs, err := load(ctx, p)
		errs = append(errs, err)
		for _, r := range runs { // a run is one run, however often it is named
			if !slices.ContainsFunc(out, func(known Run) bool { return known.ID == r.ID }) {
				out = append(out, r)
			}
		}
	}
	return out, errors.Join(errs...)
}

func load(ctx context.Context, path string) ([]Run, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return readBaseline(path)
	}
	if _, err := os.Stat(filepath.Join(path, reports.FactsFile)); err == nil {
		s, err := reports.Judge(ctx, path)
		if err != nil {
			return nil, err
		}
		r, err := Of(s)
		if err != nil {
			return nil, err
		}
		return []Run{r}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var out []Run
	for _, e := range entries {
		inner := filepath.Join(path, e.Name())
		_, err := os.Stat(filepath.Join(inner, reports.FactsFile))
		if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(e.Name(), ".json") || err != nil && e.IsDir() {
			continue
		}
		runs, err := load(ctx, inner)
		if err != nil {
			return nil, err
		}
		out = append(out, runs...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: holds neither a run nor a baseline", path)
	}
	return out, nil
}

func readBaseline(path string) ([]Run, error) {
	text, err := reports.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b baseline
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var nulls struct {
		Runs []struct{ Metrics, Events map[string]*float64 }
	}
	if err := json.Unmarshal(text, &nulls); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if b.Schema != BaselineSchema {
		return nil, fmt.Errorf("%s: it is of schema %q, and this version of livedrill reads %q", path, b.Schema, BaselineSchema)
	}
	if len(b.Runs) == 0 {
		return nil, fmt.Errorf("%s: holds no runs", path)
	}
	for i, r := range b.Runs {
		for _, numbers := range []map[string]*float64{nulls.Runs[i].Metrics, nulls.Runs[i].Events} {
			for name, v := range numbers {
				if v == nil {
					return nil, fmt.Errorf("%s: run %q: %s is no number", path, r.ID, name)
				}
			}
		}
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("%s: run %q: %w", path, r.ID, err)
		}
	}
	return b.Runs, nil
}

// check refuses numbers that no run can have, and names that are more than names.
func (r Run) check() error {
	if r.ID == "" {
		return errors.New("it has no id")
	}
	for _, text := range []string{r.ID, r.Scenario, r.Profile, r.Machine, r.Faults, r.Version, r.Sha256} {
		if len(text) > 1000 || text != reports.Visible(text) {
			return fmt.Errorf("%.100q is too long, or has control characters in it", text)
		}
	}
	for _, m := range Metrics {
		v, ok := r.Metrics[m.Name]
		if ok && (!(v == 0 || v > 1e-12 && v < 1e9) || m.Unit == "ratio" && v > 1) {
			return fmt.Errorf("%s cannot be %g", m.Name, v)
		}
		if n := r.Events[m.Name]; !(n >= 0 && n < 1e15) {
			return fmt.Errorf("%s cannot be of %g events", m.Name, n)
		}
	}
	return nil
}

// Save adds runs to a baseline file, and keeps the newest ones.
func Save(path string, runs []Run, keep int) error {
	var b baseline
	old, err := readBaseline(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.Schema = BaselineSchema
	for _, r := range append(old, runs...) {
		if !slices.ContainsFunc(b.Runs, func(known Run) bool { return known.ID == r.ID }) {
			b.Runs = append(b.Runs, r)
		}
	}
	if base := filepath.Base(path); base == "." || base == string(filepath.Separator) || strings.HasSuffix(path, string(filepath.Separator)) {
		return fmt.Errorf("%q is no name of a file", path)
	}
	b.Runs = b.Runs[max(0, len(b.Runs)-keep):]
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
