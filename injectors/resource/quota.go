package resource

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/livedrill/livedrill/target"
)

// Quota is a cgroup's CFS quota, in either version.
type Quota struct{ Group target.Cgroup }

// Limits are a quota and its period in µs; a quota of -1 is none.
type Limits struct {
	Period int64 `json:"period_us,omitempty"`
	Quota  int64 `json:"quota_us,omitempty"`
}

// period is short, so that a frame is late by little when its turn is cut short.
const period = 20_000 // µs

// least is the smallest quota that the kernel takes.
const least = 1000 // µs

// longest is the longest period that it takes.
const longest = 1_000_000 // µs

func (q Quota) file(name string) string { return filepath.Join(q.Group.CPU, name) }

// Save reads what is set.
func (q Quota) Save() (Limits, error) {
	if q.Group.Version == 2 {
		text, err := os.ReadFile(q.file("cpu.max"))
		if err != nil {
			return Limits{}, err
		}
		fields := strings.Fields(string(text))
		if len(fields) != 2 {
			return Limits{}, fmt.Errorf("cpu.max: %q", text)
		}
		s := Limits{Quota: -1}
		if fields[0] != "max" {
			if s.Quota, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
				return Limits{}, err
			}
		}
		s.Period, err = strconv.ParseInt(fields[1], 10, 64)
		return s, err
	}
	var s Limits
	var errs [2]error
	s.Quota, errs[0] = readInt(q.file("cpu.cfs_quota_us"))
	s.Period, errs[1] = readInt(q.file("cpu.cfs_period_us"))
	return s, errors.Join(errs[:]...)
}

func (q Quota) set(s Limits) error {
	if q.Group.Version == 2 {
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

// Limit leaves the group so many cores. For few of them the period is longer: a quota has a least size.
func (q Quota) Limit(cores float64) error {
	long := min(max(period, int64(least/cores)), longest)
	return q.set(Limits{Period: long, Quota: max(least, int64(cores*float64(long)))})
}

// Release puts back what was set, and reads it again.
func (q Quota) Release(was Limits) error {
	err := q.set(was)
	if errors.Is(err, os.ErrNotExist) { // the group is gone, and the quota with it
		return nil
	}
	if err != nil {
		return err
	}
	now, err := q.Save()
	if err == nil && now != was {
		err = fmt.Errorf("quota is %+v, was %+v", now, was)
	}
	return err
}

// Used is the CPU time of the group so far, in seconds, by the kernel's own account.
func (q Quota) Used() (float64, error) {
	if q.Group.Version == 2 {
		stat, err := fields(q.file("cpu.stat"))
		return stat["usage_usec"] / 1e6, err
	}
	nanos, err := readInt(filepath.Join(q.Group.Usage, "cpuacct.usage"))
	return float64(nanos) / 1e9, err
}

// Throttled is how many periods there were in which the quota was used up.
func (q Quota) Throttled() (float64, error) {
	stat, err := fields(q.file("cpu.stat"))
	return stat["nr_throttled"], err
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
