package media

import (
	"container/heap"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target/poll"
)

// Scene is a stream that is filmed. All of it belongs to its camera's thread.
type Scene interface {
	// Shoot sends what is due, and gives when it wants to be called again; zero: it is over.
	Shoot(now time.Time) (again time.Time)
	// Cut ends it before its time.
	Cut()
}

// Camera films many scenes with one thread, each when it is due: no goroutine wakes for a frame.
type Camera struct {
	Poll    *poll.Poller
	Scratch []byte // memory for the scene that is filmed just now

	queue  queue
	over   bool
	failed error
}

// Take is a scene's place with its camera.
type Take struct {
	scene Scene
	at    time.Time
	place int // in the queue; -1: it has left
}

// queue is the takes by when they are due (container/heap).
type queue []*Take

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i]; q[i].place, q[j].place = i, j }
func (q *queue) Push(t any)        { t.(*Take).place = len(*q); *q = append(*q, t.(*Take)) }
func (q *queue) Pop() any {
	t := (*q)[len(*q)-1]
	*q, t.place = (*q)[:len(*q)-1], -1
	return t
}

// Begin films a scene from a time on.
func (c *Camera) Begin(s Scene, at time.Time) *Take {
	t := &Take{scene: s, at: at}
	heap.Push(&c.queue, t)
	return t
}

// End stops filming a scene, and tells whether it was filmed until now.
func (c *Camera) End(t *Take) bool {
	if t.place < 0 {
		return false
	}
	heap.Remove(&c.queue, t.place)
	return true
}

// shutter is the shortest time between two wakings: what is due within it goes out at one, late by as much at most. A third of it would cost a quarter more of
// the processor.
const shutter = 3 * time.Millisecond

// turn goes round until nobody needs it any more. When ctx ends, so does every scene.
func (c *Camera) turn(ctx context.Context) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	stop := c.Poll.Heed(ctx)
	defer stop()
	for !c.over {
		now := time.Now()
		for len(c.queue) > 0 && (ctx.Err() != nil || !c.queue[0].at.After(now)) {
			c.shoot(ctx, c.queue[0])
		}
		next := now.Add(time.Second)
		if len(c.queue) > 0 {
			next = c.queue[0].at
		}
		if soon := now.Add(shutter); next.Before(soon) {
			next = soon
		}
		if err := c.Poll.Turn(next); err != nil {
			c.failed = err
			end()
		}
	}
}

func (c *Camera) shoot(ctx context.Context, t *Take) {
	if ctx.Err() != nil {
		c.End(t)
		t.scene.Cut()
		return
	}
	t.at = t.scene.Shoot(time.Now())
	switch {
	case t.at.IsZero():
		c.End(t)
	case t.place >= 0:
		heap.Fix(&c.queue, t.place)
	}
}

// many is how many streams of 1 Mbit/s at 25 frames a second one camera has on a core of its own, with room to spare.
const many = 1000

// Cost is what a stream takes of a camera, in such streams.
func (f Format) Cost() float64 { return max(1, float64(f.Bitrate)/1e6, float64(f.FPS)/25) }

// Studio is the cameras of a worker.
type Studio struct {
	cameras []*Camera
	threads sync.WaitGroup
	turns   atomic.Uint64
}

// NewStudio has cameras for so many streams of a format at once. When ctx ends, so do they all.
func NewStudio(ctx context.Context, streams float64, f Format) (*Studio, error) {
	s := &Studio{}
	for range min(1+int(streams*f.Cost()/many), runtime.NumCPU()) {
		p, err := poll.New()
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		c := &Camera{Poll: p}
		s.cameras = append(s.cameras, c)
		s.threads.Go(func() { loadgen.Promptly(func() { c.turn(ctx) }) })
	}
	return s, nil
}

// Film has the next camera in turn do something, on its thread: to begin with a scene.
func (s *Studio) Film(begin func(*Camera)) {
	c := s.cameras[s.turns.Add(1)%uint64(len(s.cameras))]
	c.Poll.Do(func() { begin(c) })
}

// Close ends the cameras. Every scene has to be over.
func (s *Studio) Close() (err error) {
	for _, c := range s.cameras {
		c.Poll.Do(func() { c.over = true })
	}
	s.threads.Wait()
	for _, c := range s.cameras {
		err = errors.Join(err, c.failed, c.Poll.Close())
	}
	return err
}
