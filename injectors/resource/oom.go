package resource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// OOM leaves a component no more memory than it uses: with the next bit that it needs, the kernel kills.
type OOM struct {
	before float64 // kills before
}

// Validate finds settings that cannot work; there are none.
func (*OOM) Validate() error { return nil }

// BackEnd is part of injectors.BackEnded.
func (*OOM) BackEnd() string { return "cgroup" }

// Check is part of injectors.Fault.
func (*OOM) Check(_ context.Context, on target.Component) error {
	if _, err := quotaOf(on); err != nil {
		return err
	}
	limit, err := memoryLimit(*on.Handles.Cgroup)
	if err == nil && limit < 1<<50 {
		err = fmt.Errorf("it has a limit of %d bytes already", limit)
	}
	return err
}

const unlimited = -1

func limitFile(g target.Cgroup) string {
	if g.Version == 2 {
		return filepath.Join(g.Memory, "memory.max")
	}
	return filepath.Join(g.Memory, "memory.limit_in_bytes")
}

func memoryLimit(g target.Cgroup) (int64, error) {
	text, err := os.ReadFile(limitFile(g))
	if err != nil {
		return 0, err
	}
	if strings.TrimSpace(string(text)) == "max" {
		return 1 << 62, nil
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

func setMemoryLimit(g target.Cgroup, bytes int64) error {
	text := strconv.FormatInt(bytes, 10)
	if bytes == unlimited && g.Version == 2 {
		text = "max"
	}
	return os.WriteFile(limitFile(g), []byte(text), 0)
}

// kills is how often the kernel has killed in the group for its limit.
func kills(g target.Cgroup) (float64, error) {
	file := "memory.oom_control"
	if g.Version == 2 {
		file = "memory.events"
	}
	stat, err := fields(filepath.Join(g.Memory, file))
	return stat["oom_kill"], err
}

// Save is part of injectors.Fault.
func (*OOM) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	limit, err := memoryLimit(*on.Handles.Cgroup)
	if err != nil {
		return nil, err
	}
	if limit >= 1<<50 {
		limit = unlimited
	}
	return injectors.Keep(limit)
}

// Inject is part of injectors.Fault. The limit is put to what is in use, and a small neighbour asks for more: the kernel kills the
// largest process of the group. Version 1 refuses a limit below what it cannot take away at once, so a little more is tried.
func (f *OOM) Inject(ctx context.Context, on target.Component) error {
	was, err := f.Save(ctx, on)
	if err != nil {
		return err
	}
	for range 5 {
		if err = f.squeeze(ctx, on); !errors.Is(err, errNeighbour) {
			break
		}
		// What the kernel says of a group's memory may be two seconds old: there was more room than it seemed.
		if err = f.Restore(ctx, on, was); err != nil || !target.Wait(ctx, 500*time.Millisecond) {
			break
		}
		err = errNeighbour
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return errors.Join(err, f.Restore(context.WithoutCancel(ctx), on, was))
	}
	return nil
}

// errNeighbour says that nothing of the component's own was hit.
var errNeighbour = errors.New("the kernel killed the neighbour, and none of the component's own processes")

func (f *OOM) squeeze(ctx context.Context, on target.Component) error {
	const mega = 1 << 20
	g := *on.Handles.Cgroup
	used, err := memory(g)
	if err == nil {
		f.before, err = kills(g)
	}
	if err != nil {
		return err
	}
	for more := int64(mega); ; more += mega {
		if err = setMemoryLimit(g, int64(used)+more); err == nil {
			break
		}
		if more > 64*mega || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	ours, err := processes(g)
	if err != nil {
		return err
	}
	neighbour := Memory{hog: hog{role: " of an OOM"}, Size: 4}
	for ctx.Err() == nil {
		err := neighbour.hold(ctx, on, 200*time.Millisecond)
		if n, killsErr := kills(g); killsErr != nil || n > f.before {
			now, procErr := processes(g)
			if killsErr = errors.Join(killsErr, procErr); killsErr == nil && !slices.ContainsFunc(ours, func(p string) bool { return !slices.Contains(now, p) }) {
				return errNeighbour
			}
			return killsErr
		}
		if err != nil {
			return err
		}
		if neighbour.Size *= 2; neighbour.Size > 256 { // there was more room than it seemed
			return errors.New("the kernel does not kill: is there swap?")
		}
	}
	return ctx.Err()
}

// processes are those of a group, by their numbers.
func processes(g target.Cgroup) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(g.Memory, "cgroup.procs"))
	return strings.Fields(string(text)), err
}

// Effect reads the kernel's count of kills in the group.
func (f *OOM) Effect(_ context.Context, on target.Component) (injectors.Measured, error) {
	g := *on.Handles.Cgroup
	n, err := kills(g)
	if err != nil {
		return injectors.Measured{}, err
	}
	limit, err := memoryLimit(g)
	n -= f.before
	return injectors.Measured{N: uint64(max(n, 1)), Asked: map[string]float64{"kills_at_least": 1}, Is: map[string]float64{"kills": n, "limit_bytes": float64(min(limit, 1<<50))},
		Bites: n > 0, Clean: limit >= 1<<50, Reason: fmt.Sprintf("the kernel has killed %.0f times", n)}, err
}

// Restore is part of injectors.Fault.
func (*OOM) Restore(_ context.Context, on target.Component, was injectors.Original) error {
	var before int64
	if err := was.Read(&before); err != nil {
		return err
	}
	err := setMemoryLimit(*on.Handles.Cgroup, before)
	if errors.Is(err, os.ErrNotExist) { // the group is gone, and the limit with it
		return nil
	}
	return err
}
