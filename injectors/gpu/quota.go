package gpu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/livedrill/livedrill/target"
)

// quota slows the encoders down with their cgroup's CFS quota, in either version.
type quota struct{ group target.Cgroup }

// period is short, so that a frame is late by little when its turn is cut short.
const period = 20_000 // µs

// least is the smallest quota that the kernel takes.
const least = 1000 // µs

func (q quota) file(name string) string { return filepath.Join(q.group.CPU, name) }

func (q quota) save() (saved, error) {
	if q.group.Version == 2 {
		text, err := os.ReadFile(q.file("cpu.max"))
		if err != nil {
			return saved{}, err
		}
		fields := strings.Fields(string(text))
		if len(fields) != 2 {
			return saved{}, fmt.Errorf("cpu.max: %q", text)
		}
		s := saved{Quota: -1}
		if fields[0] != "max" {
			if s.Quota, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
				return saved{}, err
			}
		}
		s.Period, err = strconv.ParseInt(fields[1], 10, 64)
		return s, err
	}
	var s saved
	var errs [2]error
	s.Quota, errs[0] = readInt(q.file("cpu.cfs_quota_us"))
	s.Period, errs[1] = readInt(q.file("cpu.cfs_period_us"))
	return s, errors.Join(errs[:]...)
}

func (q quota) set(s saved) error {
	if q.group.Version == 2 {
		limit := "max"
		if s.Quota > 0 {
			limit = strconv.FormatInt(s.Quota, 10)
		}
		return os.WriteFile(q.file("cpu.max"), fmt.Appendf(nil, "%s %d", limit, s.Period), 0)
	}
	// The quota goes first: the kernel refuses a period that the old quota does not fit into.
	return errors.Join(os.WriteFile(q.file("cpu.cfs_quota_us"), []byte("-1"), 0),
		os.WriteFile(q.file("cpu.cfs_period_us"), strconv.AppendInt(nil, s.Period, 10), 0),
		os.WriteFile(q.file("cpu.cfs_quota_us"), strconv.AppendInt(nil, s.Quota, 10), 0))
}

// slack is how far above what was asked the encoders may be seen.
func (q quota) slack() float64 { return 1.1 }

func (q quota) limit(_ context.Context, cores float64) error {
	return q.set(saved{Period: period, Quota: max(least, int64(cores*period))})
}

// settle has nothing to wait for: the kernel holds a quota from its next period on.
func (q quota) settle(context.Context, float64) error { return nil }

func (q quota) release(_ context.Context, was saved) error {
	err := q.set(was)
	if errors.Is(err, os.ErrNotExist) { // the group is gone, and the quota with it
		return nil
	}
	if err != nil {
		return err
	}
	now, err := q.save()
	if err == nil && now != was {
		err = fmt.Errorf("quota is %+v, was %+v", now, was)
	}
	return err
}

func (q quota) read(context.Context) (reading, error) {
	r := reading{at: time.Now()}
	stat, err := fields(q.file("cpu.stat"))
	if err != nil {
		return r, err
	}
	r.throttled = stat["nr_throttled"]
	if q.group.Version == 2 {
		r.cpu = stat["usage_usec"] / 1e6
		return r, nil
	}
	nanos, err := readInt(filepath.Join(q.group.Usage, "cpuacct.usage"))
	r.cpu = float64(nanos) / 1e9
	return r, err
}

func readInt(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// fields reads a file of lines "name number".
func fields(path string) (map[string]float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = v
		}
	}
	return out, nil
}
