// Package media is the synthetic camera: real H.264 and AAC, made once with ffmpeg and kept, whose every frame carries the
// time at which it is sent.
package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/stamp"
	"github.com/livedrill/livedrill/target/unit"
)

// Format is what the camera sends.
type Format struct {
	Width, Height, FPS int
	Bitrate            unit.Bitrate
}

// Check finds a format that cannot be.
func (f Format) Check() error {
	var errs []error
	if f.Bitrate < 8e3 || f.Bitrate > 100e6 {
		errs = append(errs, fmt.Errorf("bitrate: %s is not between 8k and 100M", f.Bitrate))
	}
	if f.FPS < 1 || f.FPS > 120 || f.Width < 64 || f.Width > 3840 || f.Height < 64 || f.Height > 2160 || f.Width%2+f.Height%2 > 0 {
		errs = append(errs, errors.New("fps, width, height: a picture is 64x64 to 3840x2160, even, at 1 to 120 frames a second"))
	}
	return errors.Join(errs...)
}

// length is how long a clip is; publishers repeat it.
const length = 8 * time.Second

// Clip is the camera's film. It is read-only and may be shared.
type Clip struct {
	Config []flv.Tag // decoder configurations
	Tags   []flv.Tag // media in order
	Length time.Duration
}

// Load reads the clip of a format from the cache directory, and makes it there first if it is missing.
func Load(ctx context.Context, cache string, f Format) (*Clip, error) {
	return cached(ctx, filepath.Join(cache, "clip-"+f.sum()+".flv"), f.args, parse)
}

// sum names a format's clip; it changes with everything that ffmpeg is told.
func (f Format) sum() string {
	h := sha256.Sum256(fmt.Append(nil, f.args("")))
	return hex.EncodeToString(h[:6])
}

func (f Format) args(out string) []string {
	rate := strconv.Itoa(int(f.Bitrate))
	return []string{"-hide_banner", "-loglevel", "error", "-y",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=%d", f.Width, f.Height, f.FPS),
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100",
		"-t", strconv.FormatFloat(length.Seconds(), 'f', -1, 64),
		"-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-pix_fmt", "yuv420p", "-bf", "0",
		"-g", strconv.Itoa(f.FPS), "-keyint_min", strconv.Itoa(f.FPS), "-sc_threshold", "0",
		"-b:v", rate, "-maxrate", rate, "-bufsize", rate, "-c:a", "aac", "-b:a", "64k",
		"-flvflags", "no_duration_filesize", "-f", "flv", out}
}

// cached reads what is kept at a path, and makes it there first if it is missing or damaged. Of several who find it so, one makes it.
func cached[T any](ctx context.Context, path string, args func(out string) []string, parse func([]byte) (T, error)) (made T, err error) {
	read := func() error {
		data, err := os.ReadFile(path)
		if err == nil {
			made, err = parse(data)
		}
		return err
	}
	if read() == nil {
		return made, nil
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		var unlock func()
		if unlock, err = lock(path + ".lock"); err == nil {
			defer unlock()
			if read() == nil { // somebody else was making it
				return made, nil
			}
			if err = render(ctx, args, path); err == nil {
				err = read()
			}
		}
	}
	if err != nil {
		err = fmt.Errorf("synthetic camera: %w", err)
	}
	return made, err
}

// lock waits until nobody else has a file locked. The kernel lets it go with its process.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // nothing was written
}

// render makes a film and puts it in its place whole or not at all. ffmpeg dies with this process.
func render(ctx context.Context, args func(out string) []string, path string) error {
	temp := path + ".part" // one that a dead process left is written over
	defer os.Remove(temp)
	var said bytes.Buffer
	var state *os.ProcessState
	err := target.Program{Path: "ffmpeg", Args: args(temp), Output: &said, Ended: func(s *os.ProcessState) { state = s }}.Run(ctx)
	if state == nil || !state.Success() {
		return errors.Join(err, ctx.Err(), errors.New(said.String()))
	}
	return os.Rename(temp, path)
}

func parse(data []byte) (*Clip, error) {
	c := &Clip{}
	r := flv.NewReader(bytes.NewReader(data))
	var first, last uint32
	frames := 0
	for {
		t, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch {
		case t.Type == flv.Script || t.IsVideoHeader() || t.IsAudioHeader():
			c.Config = append(c.Config, t)
		case t.IsFrame() || t.Type == flv.Audio && len(t.Data) > 2:
			c.Tags = append(c.Tags, t)
			if t.IsFrame() {
				if frames++; frames == 1 {
					first = t.Timestamp
				}
				last = t.Timestamp
			}
		}
	}
	if frames < 2 || !firstFrame(c.Tags).IsKey() {
		return nil, errors.New("the clip does not begin with a key frame")
	}
	whole := uint32(float64(last-first)*float64(frames)/float64(frames-1) + 0.5)
	c.Length = time.Duration(whole) * time.Millisecond
	begin := c.Tags[0].Timestamp // sound that lies behind the end would come after that of the next turn
	c.Tags = slices.DeleteFunc(c.Tags, func(t flv.Tag) bool { return !t.IsFrame() && t.Timestamp >= begin+whole })
	return c, nil
}

func firstFrame(tags []flv.Tag) flv.Tag {
	for _, t := range tags {
		if t.IsFrame() {
			return t
		}
	}
	return flv.Tag{}
}

// At gives tag n of an endless film, with its time stamp.
func (c *Clip) At(n int) flv.Tag {
	t := c.Tags[n%len(c.Tags)]
	t.Timestamp += uint32(time.Duration(n/len(c.Tags)) * c.Length / time.Millisecond)
	return t
}

// Stamped gives a frame with the send time in it; other tags stay as they are.
func Stamped(t flv.Tag, at time.Time) flv.Tag {
	if t.IsFrame() {
		t.Data = AppendStamped(make([]byte, 0, len(t.Data)+4+stamp.NALSize), t, at)
	}
	return t
}

// AppendStamped writes a frame's body with the send time in it behind dst.
func AppendStamped(dst []byte, frame flv.Tag, at time.Time) []byte {
	dst = append(dst, frame.Data[:5]...)
	dst = append(dst, 0, 0, 0, byte(stamp.NALSize))
	dst = stamp.AppendNAL(dst, at)
	return append(dst, frame.Data[5:]...)
}

// AppendStampedSound writes an AAC frame's body with a send time in it behind dst.
func AppendStampedSound(dst []byte, sound flv.Tag, at time.Time) []byte {
	dst = append(dst, sound.Data[:2]...)
	dst = stamp.AppendElement(dst, at)
	return append(dst, sound.Data[2:]...)
}
