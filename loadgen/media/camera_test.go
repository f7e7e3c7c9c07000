package media

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// scene notes when it was filmed, so many times.
type scene struct {
	mu    sync.Mutex
	start time.Time
	step  time.Duration
	most  int
	shots []time.Duration // by how much each was late
	cut   bool
	over  chan struct{}
}

func (s *scene) Shoot(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shots = append(s.shots, now.Sub(s.start.Add(time.Duration(len(s.shots))*s.step)))
	if len(s.shots) == s.most {
		close(s.over)
		return time.Time{}
	}
	return s.start.Add(time.Duration(len(s.shots)) * s.step)
}

func (s *scene) Cut() {
	s.cut = true
	close(s.over)
}

// TestCamera films scenes of many rhythms, none of them early, each as often as it wants, and cuts what has no end.
func TestCamera(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	studio, err := NewStudio(ctx, 2*many, Format{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var scenes []*scene
	for i := range 300 {
		s := &scene{start: start.Add(time.Duration(i) * time.Millisecond / 10), step: time.Duration(1+i%7) * time.Millisecond, most: 10 + i%20, over: make(chan struct{})}
		scenes = append(scenes, s)
		studio.Film(func(c *Camera) { c.Begin(s, s.start) })
	}
	endless := &scene{start: start, step: time.Millisecond, most: -1, over: make(chan struct{})}
	left := &scene{start: start.Add(time.Hour), step: time.Millisecond, most: -1, over: make(chan struct{})}
	studio.Film(func(c *Camera) { c.Begin(endless, start) })
	studio.Film(func(c *Camera) {
		take := c.Begin(left, left.start)
		if !c.End(take) || c.End(take) {
			t.Error("a scene does not end once")
		}
	})
	for i, s := range scenes {
		<-s.over
		if len(s.shots) != s.most || s.cut {
			t.Errorf("scene %d was filmed %d times, want %d; cut %v", i, len(s.shots), s.most, s.cut)
		}
		for _, late := range s.shots {
			if late < 0 {
				t.Errorf("scene %d was filmed %s early", i, -late)
			}
		}
	}
	cancel()
	<-endless.over
	if err := studio.Close(); err != nil {
		t.Error(err)
	}
	if !endless.cut || len(endless.shots) == 0 || left.cut || len(left.shots) > 0 {
		t.Errorf("the endless one: cut %v after %d; the one that left: cut %v after %d", endless.cut, len(endless.shots), left.cut, len(left.shots))
	}
}
