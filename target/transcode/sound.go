package transcode

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/substructs"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

// linger is how long Opus is made for nobody.
const linger = 5 * time.Second

// ticks are those of MPEG-TS in a millisecond.
const ticks = 90

// sound is a stream's sound in both codecs: AAC, which is what RTMP, FLV and HLS have, and Opus, which is what WebRTC has. One of them
// comes in. AAC is made of Opus always, Opus of AAC while somebody listens, each by an ffmpeg for sound alone.
type sound struct {
	aac, opus *flv.Hub
	made      func(flv.Tag) // takes AAC that was made of Opus

	mu        sync.Mutex
	came      *flv.Hub // what comes in; nil: nothing yet
	newest    uint32   // its newest time stamp
	listeners int
	changed   chan struct{}
}

func newSound(made func(flv.Tag)) *sound {
	return &sound{aac: flv.NewSoundHub(), opus: flv.NewSoundHub(), made: made, changed: make(chan struct{}, 1)}
}

// take takes a tag of the source, and tells whether it is for the bridge alone.
func (s *sound) take(t flv.Tag) bool {
	if t.Type != flv.Audio {
		return false
	}
	hub := s.aac
	if t.IsOpus() {
		hub = s.opus
	}
	s.mu.Lock()
	if s.came != hub {
		s.came = hub
		s.signal()
	}
	s.newest = t.Timestamp
	s.mu.Unlock()
	hub.Publish(t)
	return hub == s.opus
}

func (s *sound) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// turn is where the time stamps of MPEG-TS begin anew, after 26 hours (ISO/IEC 13818-1, 2.4.3.7).
const turn = 1 << 33

// stamp gives the time stamp of the stream, in milliseconds, for one of MPEG-TS that is near to what came in last.
func (s *sound) stamp(at int64) uint32 {
	s.mu.Lock()
	near := int64(s.newest) * ticks
	s.mu.Unlock()
	if off := near - at; off > 0 {
		at += (off + turn/2) / turn * turn
	}
	return uint32(at / ticks)
}

// isOpus tells whether what comes in is Opus.
func (s *sound) isOpus() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.came == s.opus
}

// run bridges what has to be bridged until ctx ends.
func (s *sound) run(ctx context.Context) {
	defer s.opus.Close()
	defer s.aac.Close()
	for ctx.Err() == nil {
		select { // what changed until now is looked at now
		case <-s.changed:
		default:
		}
		bridge := s.bridge()
		if bridge == nil {
			select {
			case <-ctx.Done():
			case <-s.changed:
			}
			continue
		}
		if err := s.while(ctx, bridge); err != nil && ctx.Err() == nil {
			slog.Error("sound", "err", err)
		}
		target.Wait(ctx, 200*time.Millisecond) // whatever a publisher does, ffmpeg is not started again and again
	}
}

// bridge is what has to be bridged now.
func (s *sound) bridge() func(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.came == s.opus:
		return s.toAAC
	case s.came == s.aac && s.listeners > 0:
		return s.toOpus
	}
	return nil
}

// while bridges until ctx ends, or something else has to be done.
func (s *sound) while(ctx context.Context, bridge func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	over := false
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-s.changed:
			over = true
			cancel()
		}
	})
	err := bridge(ctx)
	cancel()
	wg.Wait()
	if over {
		return nil
	}
	return err
}

// serve lets somebody listen to the stream as Opus in FLV.
func (s *sound) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.listeners++; s.listeners == 1 && s.came == s.aac {
		s.signal()
	}
	s.mu.Unlock()
	defer time.AfterFunc(linger, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.listeners--; s.listeners == 0 && s.came == s.aac {
			s.signal()
		}
	})
	flv.ServeHub(w, r, s.opus)
}

// toAAC makes AAC of Opus.
func (s *sound) toAAC(ctx context.Context) error {
	return s.convert(ctx, s.opus, []string{"-f", "mpegts", "-i", "pipe:0", "-c:a", "aac", "-b:a", "96k",
		"-flvflags", "no_duration_filesize", "-f", "flv"}, writeOpus, func(in io.Reader) error {
		r := flv.NewReader(bufio.NewReader(in))
		for {
			t, err := r.Next()
			if err != nil {
				return err
			}
			if t.IsAudioHeader() || t.IsAAC() {
				t.Timestamp = s.stamp(int64(t.Timestamp) * ticks)
				s.made(t)
			}
		}
	})
}

// toOpus makes Opus of AAC.
func (s *sound) toOpus(ctx context.Context) error {
	return s.convert(ctx, s.aac, []string{"-f", "flv", "-i", "pipe:0", "-c:a", "libopus", "-b:a", "64k", "-ar", "48000", "-ac", "2",
		"-frame_duration", "20", "-f", "mpegts", "-mpegts_copyts", "1", "-pes_payload_size", "0", "-muxdelay", "0", "-muxpreload", "0"},
		writeFLV, func(in io.Reader) error {
			return readOpus(in, func(at int64, packet []byte) { s.opus.Publish(flv.OpusTag(s.stamp(at), packet)) })
		})
}

// convert runs ffmpeg on what comes out of a hub until one of them or ctx ends. Time stamps stay as they are.
func (s *sound) convert(ctx context.Context, from *flv.Hub, args []string, write func(io.Writer) func([]flv.Tag) error, read func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	defer feed.Close()
	out, end, err := os.Pipe()
	if err != nil {
		return errors.Join(err, in.Close())
	}
	shut := sync.OnceFunc(func() { in.Close(); end.Close() }) // ours alone are left to close
	var wg sync.WaitGroup
	defer wg.Wait()
	defer shut()
	wg.Go(func() {
		defer cancel()
		defer out.Close()
		if err := read(out); err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
			slog.Error("sound", "err", err)
		}
	})
	wg.Go(func() {
		defer feed.Close()
		sub := from.Subscribe()
		defer sub.Close()
		do := write(feed)
		for tags := sub.Next(ctx); tags != nil; tags = sub.Next(ctx) {
			if do(tags) != nil {
				return // ffmpeg has ended, and says why
			}
		}
	})
	stop := context.AfterFunc(ctx, func() { feed.Close() })
	defer stop()
	// It begins with the first packet: nothing is held back to look at it.
	args = append(append([]string{"-hide_banner", "-nostats", "-loglevel", "error", "-probesize", "2048", "-analyzeduration", "0", "-copyts"}, args...),
		"-flush_packets", "1", "pipe:3")
	err = target.Program{Path: "ffmpeg", Args: args, Stdin: in, Output: os.Stderr, Files: []*os.File{end}, Started: func(int) { shut() }}.Run(ctx)
	cancel()
	return err
}

// writeFLV writes sound as FLV.
func writeFLV(out io.Writer) func([]flv.Tag) error {
	buf := append([]byte(nil), flv.Header...)
	buf[4] = 4 // sound alone (E.2)
	return func(tags []flv.Tag) error {
		for _, t := range tags {
			buf = t.Append(buf)
		}
		_, err := out.Write(buf)
		buf = buf[:0]
		return err
	}
}

// writeOpus writes Opus as MPEG-TS: ffmpeg reads no Opus in FLV.
func writeOpus(out io.Writer) func([]flv.Tag) error {
	track := &mpegts.Track{Codec: &codecs.Opus{Desc: &substructs.OpusAudioDescriptor{ChannelConfigCode: 2}}}
	buffered := bufio.NewWriter(out)
	w := &mpegts.Writer{W: buffered, Tracks: []*mpegts.Track{track}}
	begun := w.Initialize()
	return func(tags []flv.Tag) error {
		if begun != nil {
			return begun
		}
		for _, t := range tags {
			if packet := t.Opus(); len(packet) > 0 {
				if err := w.WriteOpus(track, int64(t.Timestamp)*ticks, [][]byte{packet}); err != nil {
					return err
				}
			}
		}
		return buffered.Flush()
	}
}

// opusPacket is how long a packet is heard that ffmpeg makes here.
const opusPacket = 20 * ticks

// readOpus reads Opus from MPEG-TS. Its packets follow each other without a gap, as they are heard: time stamps that came from whole
// milliseconds are off by a bit, which receivers would conceal.
func readOpus(in io.Reader, do func(at int64, packet []byte)) error {
	r := &mpegts.Reader{R: in}
	if err := r.Initialize(); err != nil {
		return err
	}
	for _, track := range r.Tracks() {
		if _, ok := track.Codec.(*codecs.Opus); !ok {
			return fmt.Errorf("%T where Opus was asked for", track.Codec)
		}
		next := int64(-1)
		r.OnDataOpus(track, func(pts int64, packets [][]byte) error {
			if off := pts - next; next < 0 || off < -opusPacket || off > opusPacket {
				next = pts
			}
			for _, p := range packets {
				do(next, p)
				next += opusPacket
			}
			return nil
		})
	}
	for {
		if err := r.Read(); err != nil {
			return err
		}
	}
}
