package rtmp

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

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
