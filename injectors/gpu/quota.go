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

func (quota) name() string   { return "emulated" }
func (quota) unit() string   { return "cores" }
func (quota) slack() float64 { return 1.1 }

func (q quota) limit(_ context.Context, share, before float64) error {
	return q.set(saved{Period: period, Quota: max(least, int64(share*before*period))})
}

// settle has nothing to wait for: the kernel holds a quota from its next period on.
func (quota) settle(context.Context, float64, float64) error { return nil }

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

// speed is the cores that the encoders use, by the kernel's own account.
func (q quota) speed(ctx context.Context, over time.Duration) (float64, error) {
	return rate(ctx, over, func(context.Context) (float64, error) {
		if q.group.Version == 2 {
			stat, err := fields(q.file("cpu.stat"))
			return stat["usage_usec"] / 1e6, err
		}
		nanos, err := readInt(filepath.Join(q.group.Usage, "cpuacct.usage"))
		return float64(nanos) / 1e9, err
	})
}

// held is the periods in which the quota was used up.
func (q quota) held(context.Context) (float64, error) {
	stat, err := fields(q.file("cpu.stat"))
	return stat["nr_throttled"], err
}

// rate measures how fast a counter grows.
func rate(ctx context.Context, over time.Duration, read func(context.Context) (float64, error)) (float64, error) {
	start := time.Now()
	before, err := read(ctx)
	if err != nil {
		return 0, err
	}
	if !target.Wait(ctx, over) {
		return 0, ctx.Err()
	}
	after, err := read(ctx)
	return (after - before) / time.Since(start).Seconds(), err
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
