package rtmp

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/loadgen/flv"
	"github.com/livedrill/livedrill/loadgen/media"
	"github.com/livedrill/livedrill/target/rtmp"
	"github.com/livedrill/livedrill/target/unit"
)

// film is pictures of 400 KB at 25 a second, more than a socket holds.
func film() *media.Clip {
	c := &media.Clip{Length: time.Second}
	for i := range 25 {
		data := make([]byte, 400<<10)
		copy(data, []byte{0x27, 1})
		if i == 0 {
			data[0] = 0x17
		}
		c.Tags = append(c.Tags, flv.Tag{Type: 9, Timestamp: uint32(i * 40), Data: data})
	}
	return c
}

// publish sends the film to a server that reads as take says, and gives what became of it and how late frames were at most.
func publish(t *testing.T, long time.Duration, take func(c *rtmp.Conn)) (late float64, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	over := make(chan struct{})
	go func() {
		defer close(over)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		c, req, err := rtmp.Accept(nc, 10*time.Second)
		if err == nil {
			err = c.Approve(req)
		}
		if err != nil {
			t.Error(err)
			return
		}
		take(c)
	}()
	conn, err := dial(t.Context(), l.Addr().String(), "live", "x")
	if err != nil {
		t.Fatal(err)
	}
	m := loadgen.NewMeter(loadgen.Spec{Name: "test", Slice: loadgen.Whole, Start: time.Now(), For: unit.Duration(long)})
	r := &run{m: m, clip: film()}
	if r.studio, err = media.NewStudio(t.Context(), 1, media.Format{}); err != nil {
		t.Fatal(err)
	}
	err = r.send(conn, m.End())
	<-over
	if err := r.studio.Close(); err != nil {
		t.Error(err)
	}
	families, gathering := m.Gather()
	if gathering != nil {
		t.Fatal(gathering)
	}
	for _, f := range families {
		if f.GetName() == "livedrill_load_lateness_seconds" {
			h := f.Metric[0].GetHistogram()
			late = h.GetSampleSum() / float64(max(h.GetSampleCount(), 1))
		}
	}
	return late, err
}

// TestServers lets servers take frames as they like: all of them, none, or only for a while.
func TestServers(t *testing.T) {
	frames := 0
	read := func(c *rtmp.Conn) {
		for {
			tag, err := c.ReadTag()
			if err != nil {
				return
			}
			if tag.IsFrame() {
				frames++
			}
		}
	}
	t.Run("one that reads", func(t *testing.T) {
		if _, err := publish(t, time.Second, read); err != nil || frames < 24 || frames > 26 {
			t.Errorf("%v; %d frames came, want 25 or 26", err, frames)
		}
	})
	t.Run("one that sleeps for a while", func(t *testing.T) {
		frames = 0
		late, err := publish(t, 3*time.Second, func(c *rtmp.Conn) {
			time.Sleep(time.Second) //nolint:forbidigo // that is what it does
			read(c)
		})
		if err != nil || frames < 74 || frames > 76 { // it goes on where it was
			t.Errorf("%v; %d frames came, want 75 or 76", err, frames)
		}
		if late > 0.2 {
			t.Errorf("%.3f s late on the average: it is not the publisher that was", late)
		}
	})
	t.Run("one that never reads", func(t *testing.T) {
		start := time.Now()
		_, err := publish(t, time.Minute, func(*rtmp.Conn) { time.Sleep(timeout + 2*time.Second) }) //nolint:forbidigo // that is what it does
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) < timeout {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
	t.Run("one that goes", func(t *testing.T) {
		if _, err := publish(t, time.Minute, func(c *rtmp.Conn) { _, _ = c.ReadTag() }); loadgen.Why(err) != loadgen.CutOff {
			t.Errorf("%v", err)
		}
	})
}
