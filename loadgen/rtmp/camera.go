package rtmp

import (
	"container/heap"
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/flv"
	"github.com/livedrill/livedrill/loadgen/media"
	"github.com/livedrill/livedrill/target/poll"
	"github.com/livedrill/livedrill/target/rtmp"
)

// camera sends the frames of many publishers with one thread, each when it is due.
type camera struct {
	*run
	poll   *poll.Poller
	queue  queue
	over   bool
	failed error
	batch  []flv.Tag
	buf    []byte
}

// many is how many publishers one camera can serve on a core that it has for itself, with room to spare.
const many = 1000

// film begins with cameras for so many publishers. end waits for them, once nobody publishes any more.
func (r *run) film(ctx context.Context, publishers int) (end func() error, err error) {
	var threads sync.WaitGroup
	end = func() (err error) {
		for _, c := range r.cameras {
			c.poll.Do(func() { c.over = true })
		}
		threads.Wait()
		for _, c := range r.cameras {
			err = errors.Join(err, c.failed, c.poll.Close())
		}
		return err
	}
	for range min(1+publishers/many, runtime.NumCPU()) {
		p, err := poll.New()
		if err != nil {
			return nil, errors.Join(err, end())
		}
		c := &camera{run: r, poll: p}
		r.cameras = append(r.cameras, c)
		threads.Go(func() { loadgen.Promptly(func() { c.failed = c.turn(ctx) }) })
	}
	return end, nil
}

// publisher is one stream, from its first frame to its last.
type publisher struct {
	conn    *rtmp.Conn
	out     *poll.Conn
	start   time.Time
	until   time.Time
	n       int       // of the first tag that was not sent
	frame   int       // of the next picture's
	planned time.Time // when that is due
	at      time.Time // when something is to be done for it: then, or later where the server has not taken the one before
	blocked time.Time // since when it has not; zero: it has
	free    time.Time // when it last had, after it had not
	place   int       // in the queue; -1: it has left
	done    chan error
}

// queue is the publishers by when they have to do something (container/heap).
type queue []*publisher

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i]; q[i].place, q[j].place = i, j }
func (q *queue) Push(p any)        { p.(*publisher).place = len(*q); *q = append(*q, p.(*publisher)) }
func (q *queue) Pop() any {
	p := (*q)[len(*q)-1]
	*q, p.place = (*q)[:len(*q)-1], -1
	return p
}

// send plays the film in real time, until its time is over. An error is what the publisher would complain about.
func (c *camera) send(conn *rtmp.Conn, until time.Time) error {
	if err := conn.WriteTags(c.clip.Config); err != nil {
		return err
	}
	p := &publisher{conn: conn, until: until, place: -1, done: make(chan error, 1)}
	c.poll.Do(func() { c.begin(p) })
	return <-p.done
}

// unread is how much may wait for a server that does not read: a frame is not sent before the one before it was taken.
const unread = 64 << 20

func (c *camera) begin(p *publisher) {
	var err error
	if p.out, err = p.conn.Onto(c.poll, unread, func(err error) { c.end(p, err) }); err != nil {
		p.done <- err
		return
	}
	p.start = time.Now()
	p.next(c.clip, 0)
	heap.Push(&c.queue, p)
}

// next lets the publisher go on with a tag of the film.
func (p *publisher) next(film *media.Clip, n int) {
	for p.n, p.frame = n, n; ; p.frame++ {
		if t := film.At(p.frame); t.IsFrame() {
			p.planned = p.start.Add(time.Duration(t.Timestamp) * time.Millisecond)
			p.at = p.planned
			return
		}
	}
}

// end takes a publisher out, if it is still there.
func (c *camera) end(p *publisher, err error) {
	if p.place >= 0 {
		heap.Remove(&c.queue, p.place)
		p.out.Close()
		p.done <- err
	}
}

// turn goes round until nobody needs it any more. When ctx ends, so does every stream.
func (c *camera) turn(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.poll.Do(func() {}) })
	defer stop()
	for !c.over {
		now := time.Now()
		for len(c.queue) > 0 && (ctx.Err() != nil || !c.queue[0].at.After(now)) {
			c.shoot(ctx, c.queue[0])
		}
		latest := now.Add(time.Second)
		next := latest
		if len(c.queue) > 0 {
			next = c.queue[0].at
		}
		if err := c.poll.Turn(loadgen.Waking(now, next, latest)); err != nil {
			return err
		}
	}
	return nil
}

// retry is how long a server is given to take the frame before.
const retry = 2 * time.Millisecond

// shoot sends a publisher's next picture, and what lies before it, in one write: it is how muxers send, and a write costs more than all the rest. A
// picture's lateness is its send time after its time stamp's moment, or after the moment at which the server had taken the one before: that it had
// not is not the publisher's doing.
func (c *camera) shoot(ctx context.Context, p *publisher) {
	now := time.Now()
	if ctx.Err() != nil || p.planned.After(p.until) {
		_ = p.conn.Unpublish() // it leaves anyway
		c.end(p, nil)
		return
	}
	if p.out.Waiting() > 0 {
		if p.blocked.IsZero() {
			p.blocked = now
		}
		if now.Sub(p.blocked) > timeout {
			c.end(p, os.ErrDeadlineExceeded)
			return
		}
		p.at = now.Add(retry)
		heap.Fix(&c.queue, p.place)
		return
	}
	if !p.blocked.IsZero() {
		p.blocked, p.free = time.Time{}, now
	}
	due := p.planned
	if p.free.After(due) {
		due = p.free
	}
	c.m.Late.Observe(now.Sub(due).Seconds())
	if err := p.conn.WriteTags(c.stamped(p, now)); err != nil {
		c.end(p, err)
		return
	}
	p.next(c.clip, p.frame+1)
	heap.Fix(&c.queue, p.place)
}

// stamped gives a publisher's tags up to its next picture, picture and sound with their send times in them. They are good until the next call.
func (c *camera) stamped(p *publisher, now time.Time) []flv.Tag {
	c.batch, c.buf = c.batch[:0], c.buf[:0]
	newest := c.clip.At(p.frame).Timestamp
	for n := p.n; n <= p.frame; n++ {
		t, from := c.clip.At(n), len(c.buf)
		if t.IsAAC() { // it belongs to an earlier moment than the picture
			c.buf = media.AppendStampedSound(c.buf, t, now.Add(-time.Duration(newest-t.Timestamp)*time.Millisecond))
		} else {
			c.buf = media.AppendStamped(c.buf, t, now)
		}
		t.Data = c.buf[from:]
		c.batch = append(c.batch, t)
	}
	return c.batch
}
