package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/reports/record"
)

// RunOutside puts a scenario's loads on a server of the user's own, without a range: the workers are parts of this process, so that
// nothing outlives it. Whether the server may be loaded is for the loads to check: their addresses are on loopback.
func RunOutside(ctx context.Context, o Orders, watch func(record.Event)) (dir string, err error) {
	s, err := o.Resolve()
	if err != nil {
		return "", err
	}
	if err := o.makeDir(ctx, s); err != nil {
		return "", err
	}
	if o.outside, err = os.MkdirTemp("", fmt.Sprintf("livedrill-%d-", os.Getpid())); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.outside)) }()
	o.Journal, o.Root, o.Actor = filepath.Join(o.outside, "journal"), os.Geteuid() == 0, Actor()
	return o.Dir, Run(ctx, o, watch)
}

// here is a worker that is part of this process.
type here struct {
	name string
	end  context.CancelFunc
	done chan struct{}
	err  error
}

func runHere(ctx context.Context, spec loadgen.Spec, g loadgen.Generator) *here {
	ctx, end := context.WithCancel(ctx)
	h := &here{name: spec.Name, end: end, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		h.err = loadgen.Work(ctx, spec, g)
	}()
	return h
}

// Failed is part of running.
func (h *here) Failed() error {
	select {
	case <-h.done:
	default:
		return nil
	}
	if h.err == nil {
		return nil
	}
	return fmt.Errorf("%s ended by itself: %w", h.name, h.err)
}

// Stop is part of running: a load that was told to end does.
func (h *here) Stop(grace time.Duration) {
	h.end()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-h.done:
	case <-t.C: // it ends with this process
	}
}
