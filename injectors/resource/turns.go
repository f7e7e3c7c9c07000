package resource

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/process"
	"github.com/livedrill/livedrill/target"
)

// inTurns is a Duty of all processes on a component's host.
type inTurns struct {
	Duty
	on target.Component

	mu   sync.Mutex
	gone float64 // processor seconds of processes that have ended
	last map[int]float64
}

func newTurns(on target.Component) *inTurns {
	t := &inTurns{on: on}
	t.State = t.state
	return t
}

// state keeps what processes had used that have ended since it was asked last.
func (t *inTurns) state(context.Context) (pids []int, used float64, err error) {
	t.mu.Lock() // over the list, too: an older one would miss who has come since
	defer t.mu.Unlock()
	if pids, err = process.PIDs(t.on); err != nil {
		return nil, 0, err
	}
	now := make(map[int]float64, len(pids))
	for _, pid := range pids {
		now[pid] = cpuOf([]int{pid})
		used += now[pid]
	}
	for pid, before := range t.last {
		if _, there := now[pid]; !there {
			t.gone += before
		}
	}
	t.last = now
	return pids, used + t.gone, nil
}

func (*inTurns) name() string { return "duty-cycle" }

func (t *inTurns) work() string { return "turns of " + t.on.Name }

func (t *inTurns) save(ctx context.Context) (Limits, error) {
	pids, _, err := t.State(ctx)
	switch {
	case err != nil:
	case len(pids) == 0:
		err = errors.New("it has no process")
	case injectors.Begun(t.work()):
		err = errors.New("another fault stops its processes in turns already")
	}
	return Limits{Quota: -1}, err
}

func (t *inTurns) limit(ctx context.Context, cores float64) error {
	now, err := t.Speed(ctx, 2*Turn)
	if err == nil && now <= cores {
		err = fmt.Errorf("it needs no more than %.2f cores: a limit of %g would not be felt", now, cores)
	}
	if err != nil {
		return err
	}
	t.Limit(cores)
	if err := injectors.Begin(ctx, t.work(), t.Run); err != nil {
		return err
	}
	if err = t.Settle(ctx, cores); err != nil {
		err = errors.Join(err, t.release(context.WithoutCancel(ctx), Limits{}))
	}
	return err
}

func (t *inTurns) release(ctx context.Context, _ Limits) error {
	injectors.End(t.work())
	return t.Release(ctx)
}

func (t *inTurns) used(ctx context.Context) (float64, error) {
	_, used, err := t.State(ctx)
	return used, err
}

func (t *inTurns) held(ctx context.Context) (float64, error) { return t.Held(ctx) }

// least is half of the turns of a second.
func (*inTurns) least() (turns, slack float64) { return 3, DutySlack }
