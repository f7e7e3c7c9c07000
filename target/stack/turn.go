package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/livedrill/livedrill/target"
)

// TurnOn turns a defence on where it acts, as a rolling update does: one component after the other is started again with its new
// configuration, the next one when it is healthy. What that interrupts is measured like everything else. Keep must be at work.
func (s *Stack) TurnOn(ctx context.Context, defence string) error {
	i := slices.IndexFunc(target.AllDefences, func(d target.Defence) bool { return d.Name == defence })
	if i < 0 {
		return fmt.Errorf("no defence %q: livedrill list defences shows all", defence)
	}
	s.turning.Lock()
	defer s.turning.Unlock()
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	turned := false
	for _, c := range s.platform.Components {
		if !slices.Contains(strings.Split(target.AllDefences[i].Where, ", "), c.Kind) {
			continue
		}
		was, err := s.switchOn(c.Name, defence)
		if err == nil && !was {
			turned = true
			err = s.restart(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("%s at %s: %w", defence, c.Name, err)
		}
	}
	if !turned {
		return fmt.Errorf("%s is on already", defence)
	}
	return nil
}

// switchOn changes a component's configuration, and tells whether the defence was on before.
func (s *Stack) switchOn(name, defence string) (was bool, err error) {
	c, err := target.ReadConfig(s.files[name])
	if err != nil || c.Defences[defence] {
		return true, err
	}
	c.Defences[defence] = true
	text, err := json.Marshal(c)
	if err != nil {
		return false, err
	}
	if err := os.WriteFile(s.files[name]+".new", text, 0o600); err != nil {
		return false, err
	}
	return false, os.Rename(s.files[name]+".new", s.files[name]) // a component that starts just now reads one or the other
}

// restart ends a component; Keep starts it again.
func (s *Stack) restart(ctx context.Context, c target.Component) error {
	before := s.process(c.Name)
	before.Stop(3 * time.Second)
	for s.process(c.Name) == before {
		if !target.Wait(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
	return s.wait(ctx, c)
}
