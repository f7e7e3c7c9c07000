//go:build linux

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/scenarios"
	"github.com/livedrill/livedrill/target/hosts"
)

// inside is the first process of a range. It is not for people.
func (a *app) inside() *cobra.Command {
	return &cobra.Command{Use: "inside", Hidden: true, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var o scenarios.Orders
		orders, err := hosts.Inside(&o)
		if err != nil {
			return usage(err)
		}
		ctx, interrupt := context.WithCancel(c.Context())
		defer interrupt()
		go func() {
			orders.Watch(func(string) { interrupt() })
			os.Exit(exitInternal) //nolint:forbidigo // whoever made the range is gone: the kernel ends the rest
		}()
		if o.Try {
			return a.writeJSON(scenarios.TryInside(ctx, o))
		}
		p := newProgress(a.err, o.Terminal)
		defer p.end()
		if err := scenarios.Run(ctx, o, p.event); err != nil {
			return internal(err)
		}
		return nil
	}}
}

// progress shows a run as it goes: one moving line on a terminal, plain lines elsewhere.
type progress struct {
	mu     sync.Mutex
	w      io.Writer
	moving bool
	start  time.Time
	phase  string
	faults []string
	done   chan struct{}
	wg     sync.WaitGroup
}

func newProgress(w io.Writer, moving bool) *progress {
	p := &progress{w: w, moving: moving, start: time.Now(), phase: "platform", done: make(chan struct{})}
	if moving {
		p.wg.Go(p.move)
	}
	return p
}

// move draws the status again and again.
func (p *progress) move() {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-t.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

func (p *progress) draw() {
	faults := ""
	if len(p.faults) > 0 {
		faults = "  \x1b[31m" + strings.Join(p.faults, ", ") + "\x1b[0m"
	}
	fmt.Fprintf(p.w, "\r\x1b[K\x1b[1m%6.1fs\x1b[0m  %s%s", time.Since(p.start).Seconds(), p.phase, faults)
}

func (p *progress) end() {
	close(p.done)
	p.wg.Wait()
	if p.moving {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// event takes in what happens and prints it.
func (p *progress) event(e record.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.describe(e)
	if text == "" {
		return
	}
	if p.moving {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	fmt.Fprintf(p.w, "%6.1fs  %s\n", e.T, text)
}

func (p *progress) describe(e record.Event) string {
	name := fmt.Sprintf("%v on %v", e.Details["type"], e.Details["on"])
	switch e.Kind {
	case "range.begin":
		return "range made, platform starting"
	case "platform.ready":
		return fmt.Sprintf("platform ready (%v)", e.Details["profile"])
	case "phase":
		p.phase, _ = e.Details["name"].(string)
		return p.phase
	case "fault.inject":
		p.faults = append(p.faults, name)
		return fmt.Sprintf("%s: inject (%v)", name, e.Details["back_end"])
	case "fault.proven":
		return fmt.Sprintf("%s: in effect: %s", name, values(e.Details["is"]))
	case "fault.faded":
		return fmt.Sprintf("%s: not in effect any more at its end: %v", name, text(e.Details["reason"]))
	case "fault.without-effect", "fault.refused", "fault.not-restored":
		return fmt.Sprintf("%s: %s %v%v", name, strings.TrimPrefix(e.Kind, "fault."), text(e.Details["reason"]), text(e.Details["error"]))
	case "fault.clean":
		for i, f := range p.faults {
			if f == name {
				p.faults = append(p.faults[:i], p.faults[i+1:]...)
				break
			}
		}
		return name + ": restored and clean"
	case "component.ended", "component.lost":
		return fmt.Sprintf("%s: %v", e.Kind, e.Details["error"])
	}
	return ""
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func values(v any) string {
	m, ok := v.(map[string]float64)
	if !ok {
		return ""
	}
	var parts []string
	for _, k := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%s %.4g", k, m[k]))
	}
	return strings.Join(parts, ", ")
}
