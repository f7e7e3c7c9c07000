package rtmp

import (
	"errors"
	"os"
	"time"

	"github.com/livedrill/livedrill/loadgen/flv"
	"github.com/livedrill/livedrill/loadgen/media"
	"github.com/livedrill/livedrill/target/poll"
	"github.com/livedrill/livedrill/target/rtmp"
)

// publisher is one stream, from its first frame to its last: a scene of its camera's.
type publisher struct {
	film    *media.Clip
	late    func(time.Duration)
	conn    *rtmp.Conn
	out     *poll.Conn
	start   time.Time
	until   time.Time
	n       int       // of the first tag that was not sent
	frame   int       // of the next picture's
	due     time.Time // of that
	blocked time.Time // since when the server has not taken the one before; zero: it has
	free    time.Time // when it last had, after it had not
	done    chan error
	camera  *media.Camera
	tags    []flv.Tag
}

// unread is how much may wait for a server that does not read: a frame is not sent before the one before it was taken.
const unread = 64 << 20

// send plays the film in real time, until its time is over. An error is what the publisher would complain about.
func (r *run) send(conn *rtmp.Conn, until time.Time) error {
	if err := conn.WriteTags(r.clip.Config); err != nil {
		return errors.Join(err, conn.Close())
	}
	p := &publisher{film: r.clip, late: func(d time.Duration) { r.m.Late.Observe(d.Seconds()) }, conn: conn, until: until, done: make(chan error, 1)}
	r.studio.Film(p.begin)
	return <-p.done
}

func (p *publisher) begin(c *media.Camera) {
	var take *media.Take
	var err error
	p.camera = c
	p.out, err = p.conn.Onto(c.Poll, unread, func(err error) {
		if c.End(take) {
			p.done <- err
		}
	})
	if err != nil {
		p.done <- err
		return
	}
	p.start = time.Now()
	p.next(0)
	take = c.Begin(p, p.due)
}

// next lets the publisher go on with a tag of the film.
func (p *publisher) next(n int) {
	for p.n, p.frame = n, n; ; p.frame++ {
		if t := p.film.At(p.frame); t.IsFrame() {
			p.due = p.start.Add(time.Duration(t.Timestamp) * time.Millisecond)
			return
		}
	}
}

// Cut is part of media.Scene.
func (p *publisher) Cut() {
	_ = p.conn.Unpublish() // it leaves anyway
	p.end(nil)
}

func (p *publisher) end(err error) time.Time {
	p.out.Close()
	p.done <- err
	return time.Time{}
}

// retry is how long a server is given to take the frame before.
const retry = 2 * time.Millisecond

// Shoot sends the next picture, and what lies before it, in one write: it is how muxers send, and a write costs more than all the rest. A picture's
// lateness is its send time after its time stamp's moment, or after the moment at which the server had taken the one before: that it had not is not
// the publisher's doing.
func (p *publisher) Shoot(now time.Time) (again time.Time) {
	if p.out.Waiting() > 0 {
		if p.blocked.IsZero() {
			p.blocked = now
		}
		if now.Sub(p.blocked) > timeout {
			return p.end(os.ErrDeadlineExceeded)
		}
		return now.Add(retry)
	}
	if !p.blocked.IsZero() {
		p.blocked, p.free = time.Time{}, now
	}
	if p.due.After(p.until) {
		p.Cut()
		return time.Time{}
	}
	due := p.due
	if p.free.After(due) {
		due = p.free
	}
	p.late(now.Sub(due))
	if err := p.conn.WriteTags(p.stamp(now)); err != nil {
		return p.end(err)
	}
	p.next(p.frame + 1)
	return p.due
}

// stamp gives the tags up to the next picture, picture and sound with their send times in them. They are good until the next call.
func (p *publisher) stamp(now time.Time) []flv.Tag {
	out, newest := p.camera.Scratch[:0], p.film.At(p.frame).Timestamp
	p.tags = p.tags[:0]
	for n := p.n; n <= p.frame; n++ {
		t, from := p.film.At(n), len(out)
		if t.IsAAC() { // it belongs to an earlier moment than the picture
			out = media.AppendStampedSound(out, t, now.Add(-time.Duration(newest-t.Timestamp)*time.Millisecond))
		} else {
			out = media.AppendStamped(out, t, now)
		}
		t.Data = out[from:]
		p.tags = append(p.tags, t)
	}
	p.camera.Scratch = out
	return p.tags
}
