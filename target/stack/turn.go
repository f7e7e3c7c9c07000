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
	s.turning.Lock()
	defer s.turning.Unlock()
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	var turned []string
	for _, name := range s.Where(defence) {
		c, err := s.platform.Find(name)
		was := false
		if err == nil {
			was, err = s.switchOn(name, defence)
		}
		if err == nil && !was {
			turned = append(turned, name)
			err = s.restart(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("%s: %w (started again with it: %s)", name, err, strings.Join(turned, ", "))
		}
	}
	if len(turned) == 0 {
		return fmt.Errorf("%s is on already", defence)
	}
	return nil
}

// Where names the components in which a defence acts.
func (s *Stack) Where(defence string) (names []string) {
	for _, d := range target.AllDefences {
		for _, c := range s.platform.Components {
			if d.Name == defence && slices.Contains(strings.Split(d.Where, ", "), c.Kind) {
				names = append(names, c.Name)
			}
		}
	}
	return names
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

// restart ends a component; Keep starts it again, and again if it dies.
func (s *Stack) restart(ctx context.Context, c target.Component) error {
	before := s.process(c.Name)
	before.Stop(3 * time.Second)
	for s.process(c.Name) == before {
		if !target.Wait(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
	for {
		err := c.Healthy(ctx)
		if err == nil {
			return nil
		}
		if !target.Wait(ctx, 25*time.Millisecond) {
			return err
		}
	}
}
