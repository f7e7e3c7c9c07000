package rtmp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livedrill/livedrill/target/flv"
)

// serve accepts one connection and hands it to do; done is closed afterwards.
func serve(t *testing.T, do func(*Conn, Request)) (addr string, done chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done = make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		c, req, err := Accept(nc, 5*time.Second)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		do(c, req)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), done
}

func TestPublish(t *testing.T) {
	sent := []flv.Tag{
		{Type: flv.Video, Timestamp: 0, Data: bytes.Repeat([]byte{0x17, 1, 0, 0, 0}, 40_000)}, // many chunks
		{Type: flv.Audio, Timestamp: 0xffffff, Data: []byte{0xaf, 1, 2}},                      // extended time stamps
		{Type: flv.Video, Timestamp: 0x01000000, Data: bytes.Repeat([]byte{0x27}, 70_000)},
	}
	var got []flv.Tag
	addr, done := serve(t, func(c *Conn, req Request) {
		if want := (Request{Publish: true, App: "live", Stream: "room1?key=k"}); req != want {
			t.Errorf("request %+v, want %+v", req, want)
		}
		if err := c.Approve(req); err != nil {
			t.Error(err)
		}
		for {
			tag, err := c.ReadTag()
			if err != nil {
				if !IsEnd(err) {
					t.Errorf("read: %v", err)
				}
				return
			}
			got = append(got, tag)
		}
	})
	c, err := Dial(t.Context(), addr, "live", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish("room1?key=k"); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteTags(sent); err != nil {
		t.Fatal(err)
	}
	if err := c.Unpublish(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-done
	if !reflect.DeepEqual(got, sent) {
		t.Errorf("%d tags arrived, or other ones than the %d sent", len(got), len(sent))
	}
}

func TestRefused(t *testing.T) {
	addr, _ := serve(t, func(c *Conn, req Request) {
		if err := c.Refuse(req, "wrong key"); err != nil {
			t.Error(err)
		}
	})
	c, err := Dial(t.Context(), addr, "live", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Publish("x"); !errors.Is(err, ErrRefused) {
		t.Fatalf("publish: %v, want a refusal", err)
	}
}

func TestPlay(t *testing.T) {
	sent := []flv.Tag{{Type: flv.Video, Timestamp: 40, Data: bytes.Repeat([]byte{0x17, 1, 0, 0, 0}, 30_000)},
		{Type: flv.Audio, Timestamp: 41, Data: []byte{0xaf, 1, 2}}}
	addr, done := serve(t, func(c *Conn, req Request) {
		if want := (Request{App: "live", Stream: "room1"}); req != want {
			t.Errorf("request %+v, want %+v", req, want)
		}
		if err := errors.Join(c.Approve(req), c.WriteTags(sent), c.Unpublished()); err != nil {
			t.Error(err)
		}
	})
	c, err := Dial(t.Context(), addr, "live", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Play("room1"); err != nil {
		t.Fatal(err)
	}
	var got []flv.Tag
	for {
		tag, err := c.ReadTag()
		if err != nil {
			if !IsEnd(err) {
				t.Error(err)
			}
			break
		}
		if tag.Type != flv.Script {
			got = append(got, tag)
		}
	}
	<-done
	if !reflect.DeepEqual(got, sent) {
		t.Errorf("%d tags arrived, or other ones than the %d sent", len(got), len(sent))
	}
}

func TestAMFRoundTrip(t *testing.T) {
	in := []any{"connect", float64(1), Object{"app": "live", "deep": Object{"yes": true}}, nil}
	out, err := decodeAMF(appendAMF(nil, in...))
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Fatalf("%v (%v), want %v", out, err, in)
	}
}

func FuzzAMF(f *testing.F) {
	f.Add(appendAMF(nil, "publish", float64(3), nil, "room", Object{"a": Object{}}))
	f.Add([]byte{amfStrict, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = decodeAMF(data) })
}

func FuzzChunks(f *testing.F) {
	f.Add(appendMessage(nil, onVideo, message{9, 5, 1, make([]byte, 300)}, 128))
	f.Add([]byte{0xc3})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newChunkReader(bufio.NewReader(bytes.NewReader(data)))
		for {
			if _, err := r.next(); err != nil {
				return
			}
		}
	})
}

// TestLongPlay plays more than the five megabytes after which a player has to acknowledge, over more time than one write may take.
func TestLongPlay(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const limit, tags, size = time.Second, 300, 20_000
	ctx, cancel := context.WithCancel(t.Context())
	hub := flv.NewSoundHub()
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, l, limit, func(ctx context.Context, c *Conn, r Request) error {
			if err := c.Approve(r); err != nil {
				return err
			}
			return c.PlayHub(ctx, hub)
		})
	}()
	defer func() { <-done }()
	defer cancel()
	c, err := Dial(ctx, l.Addr().String(), "live", limit)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Play("x"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			hub.Publish(flv.Tag{Type: flv.Audio, Data: make([]byte, size)})
			<-tick.C
		}
	})
	for n := 0; n < tags; {
		tag, err := c.ReadTag()
		if err != nil {
			t.Fatalf("after %d tags: %v", n, err)
		}
		if tag.Type == flv.Audio { // and not what a server says of its stream
			n++
		}
	}
}

// TestPatience has a server wait for a client that never says what it wants, and for one that claims a message of eight megabytes, no longer
// than it has to.
func TestPatience(t *testing.T) {
	for name, send := range map[string][]byte{
		"says nothing of use": appendMessage(nil, onControl, control(acknowledge, 1), defaultChunk),
		"claims much":         {3, 0, 0, 0, 0x7f, 0xff, 0xff, commandAMF0, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			defer server.Close()
			const limit = 300 * time.Millisecond
			go func() {
				hello := append([]byte{3}, make([]byte, handshakeSize)...)
				_, _ = client.Write(hello)
				_, _ = io.ReadFull(client, make([]byte, 1+2*handshakeSize))
				_, _ = client.Write(hello[1:])
				for { // until the server has enough
					if _, err := client.Write(send); err != nil {
						return
					}
				}
			}()
			start := time.Now()
			_, _, err := Accept(server, limit)
			if took := time.Since(start); err == nil || took > 5*limit {
				t.Errorf("%v after %s", err, took)
			}
		})
	}
}
