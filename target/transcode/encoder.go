package transcode

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/hosts"
)

// errBehind ends an encoder that is slower than real time, where the defence is on.
var errBehind = errors.New("slower than real time")

// encode keeps an encoder on the stream until ctx ends. With the defence it gives the renditions up for a while when the
// encoder falls behind; without, the backlog grows.
func (st *stream) encode(ctx context.Context) {
	rest := firstRest
	for newcomer := true; ; newcomer = false {
		err := errBehind
		if !newcomer || !st.server.overloaded() { // a stream that rested tries again, whatever the others do
			err = st.encodeOnce(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errNoSession) {
			st.server.numbers.refused.Inc()
		}
		if errors.Is(err, errBehind) || errors.Is(err, errNoSession) && st.server.config.Defences[target.ShedRenditions] {
			slog.Warn("renditions given up", "channel", st.channel, "for", rest, "err", err)
			st.server.numbers.sheds.Inc()
			st.pass()
			if !target.Wait(ctx, rest) {
				return
			}
			rest *= 2
		} else {
			slog.Error("encoder", "channel", st.channel, "err", err)
			if !target.Wait(ctx, 200*time.Millisecond) {
				return
			}
		}
		st.server.numbers.restarts.Inc()
		st.resume()
	}
}

// pass puts the source out in the place of every rendition, from the newest key frame on.
func (st *stream) pass() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.resting = true
	for _, r := range ladder {
		if !st.passing[r.Name] {
			st.passing[r.Name] = true
			for _, t := range st.beginning() {
				st.emit(r.Name, t)
			}
		}
	}
	st.queue = nil
	clear(st.seen)
	st.output = st.input
}

// beginning is what a decoder needs to begin with the source now. st.mu is held.
func (st *stream) beginning() []flv.Tag {
	var out []flv.Tag
	for _, t := range st.config {
		if t != nil {
			out = append(out, *t)
		}
	}
	return append(out, st.group...)
}

// resume queues the source for a new encoder.
func (st *stream) resume() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.resting = false
	st.queue = st.beginning()
	clear(st.seen)
	if len(st.group) > 0 { // what came before that does not come out any more
		at := st.group[0].Timestamp
		st.output = mediaClock{true, at, st.input.total - time.Duration(st.input.last-at)*time.Millisecond}
	}
}

// soundLimit is how long an encoder waits for AAC to be made of Opus: what is not there when it begins is never there.
const soundLimit = 2 * time.Second

// hear waits for sound that is being made of Opus, and begins with it.
func (st *stream) hear(ctx context.Context) {
	for begun := time.Now(); time.Since(begun) < soundLimit && !st.hears(); {
		if !target.Wait(ctx, 20*time.Millisecond) {
			return
		}
	}
	if st.sound.isOpus() && !st.rests() {
		st.resume()
	}
}

func (st *stream) hears() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.config[1] == nil { // no picture has come yet: its sound may still be announced
		return false
	}
	return !st.sound.isOpus() || st.config[2] != nil
}

// encodeOnce runs one ffmpeg on the stream until it or ctx ends, or it falls behind with the defence on.
func (st *stream) encodeOnce(ctx context.Context) error {
	st.hear(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	session, err := st.server.card.take(cancel)
	if err != nil {
		return err
	}
	defer st.server.card.give(session)
	in, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	defer feed.Close()
	var files []*os.File
	shut := sync.OnceFunc(func() {
		for _, f := range append(files, in) {
			_ = f.Close() // ours alone is left to close
		}
	})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer shut()
	for _, r := range ladder {
		read, write, err := os.Pipe()
		if err != nil {
			return err
		}
		files = append(files, write)
		wg.Go(func() {
			defer read.Close()
			st.collect(read, r.Name)
		})
	}
	wg.Go(func() { st.feed(ctx, feed) })
	wg.Go(func() { st.watch(ctx, cancel) })

	err = target.Program{Path: "ffmpeg", Args: Args(st.server.encoder), Stdin: in, Output: os.Stderr, Files: files,
		Started: func(pid int) {
			shut() // ffmpeg has its own
			st.started(pid)
		}, Ended: st.stopped}.Run(ctx)
	shut() // if it could not be started, they are still open
	cancel(nil)
	feed.Close()
	if cause := context.Cause(ctx); errors.Is(cause, errBehind) || errors.Is(cause, errNoSession) {
		return cause
	}
	return err
}

func (st *stream) started(pid int) {
	if err := hosts.AddToCgroup(st.server.config.Cgroup, pid); err != nil {
		slog.Error("encoder", "channel", st.channel, "err", err)
	}
	st.mu.Lock()
	st.pid, st.since = pid, time.Now()
	st.encoded = mediaClock{total: st.encoded.total}
	st.mu.Unlock()
}

func (st *stream) stopped(state *os.ProcessState) {
	st.mu.Lock()
	st.pid = 0
	st.mu.Unlock()
	if state != nil {
		st.server.retire("cpu", (state.UserTime() + state.SystemTime()).Seconds())
	}
}

// feed writes the queue to the encoder. While the encoder does not read, the queue grows.
func (st *stream) feed(ctx context.Context, out *os.File) {
	defer out.Close()
	stop := context.AfterFunc(ctx, func() { out.Close() })
	defer stop()
	buf := append([]byte(nil), flv.Header...)
	for {
		st.mu.Lock()
		tags := st.queue
		st.queue = nil
		st.mu.Unlock()
		for _, t := range tags {
			if buf = t.Append(buf); len(buf) > 32<<10 {
				if _, err := out.Write(buf); err != nil {
					return
				}
				buf = buf[:0]
			}
		}
		if _, err := out.Write(buf); err != nil {
			return
		}
		buf = buf[:0]
		select {
		case <-ctx.Done():
			return
		case <-st.wake:
		}
	}
}

// collect reads one rendition from the encoder. It goes out from the first key frame that was not out yet, so that a
// viewer never gets a frame without the one it refers to.
func (st *stream) collect(in io.Reader, name string) {
	r := flv.NewReader(bufio.NewReaderSize(in, 32<<10))
	var held []flv.Tag
	live := false
	for {
		t, err := r.Next()
		if err != nil {
			return
		}
		st.mu.Lock()
		if t.IsFrame() && name == ladder[0].Name {
			st.encoded.tick(t.Timestamp)
		}
		last, begun := st.done[name]
		switch {
		case live:
			st.emit(name, t)
		case t.Type == flv.Script || t.IsVideoHeader() || t.IsAudioHeader():
			held = append(held, t)
		case t.IsKey() && (!begun || t.Timestamp > last || last-t.Timestamp > 60_000):
			for _, h := range held {
				st.emit(name, h)
			}
			st.emit(name, t)
			live, st.passing[name] = true, false
		}
		st.mu.Unlock()
	}
}

// watch ends an encoder that falls behind, where the defence is on. A new encoder has three seconds to begin.
func (st *stream) watch(ctx context.Context, end context.CancelCauseFunc) {
	if !st.server.config.Defences[target.ShedRenditions] || !target.Wait(ctx, 3*time.Second) {
		return
	}
	for target.Wait(ctx, 200*time.Millisecond) {
		if st.lag() > behind {
			end(errBehind)
			return
		}
	}
}
