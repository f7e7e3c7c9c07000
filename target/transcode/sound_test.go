package transcode

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

// TestSound sends a tone from AAC to Opus and back: its time stamps stay, and it is heard at the end.
func TestSound(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not on this machine")
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var mu sync.Mutex
	var made []flv.Tag
	back := newSound(func(tag flv.Tag) {
		mu.Lock()
		defer mu.Unlock()
		made = append(made, tag)
	})
	there := newSound(nil)
	there.listeners = 1
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	opus := there.opus.Subscribe()
	wg.Go(func() { there.run(ctx) })
	wg.Go(func() { back.run(ctx) })
	packets, last, steady := 0, uint32(0), true
	wg.Go(func() {
		for tags := opus.Next(ctx); tags != nil; tags = opus.Next(ctx) {
			for _, tag := range tags {
				if !back.take(tag) {
					t.Errorf("%+v is no Opus", tag)
				}
				if tag.Opus() != nil {
					packets++
					steady = steady && (packets == 1 || tag.Timestamp-last == 20)
					last = tag.Timestamp
				}
			}
		}
	})
	for _, tag := range tone(t, ffmpeg) { // 8 s of it, from 10 s on; what comes before ffmpeg reads is not kept
		tag.Timestamp += 10_000
		if there.take(tag) {
			t.Error("AAC would not go on as it is")
		}
		target.Wait(ctx, 5*time.Millisecond)
	}
	newest := func() uint32 {
		mu.Lock()
		defer mu.Unlock()
		if len(made) == 0 {
			return 0
		}
		return made[len(made)-1].Timestamp
	}
	for ctx.Err() == nil && newest() < 17_600 {
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	cancel()
	wg.Wait()
	if packets < 250 || last < 17_600 || last > 18_100 || !steady {
		t.Errorf("%d packets of Opus up to %d ms, one every 20 ms: %v", packets, last, steady)
	}
	if len(made) < 200 || !made[0].IsAudioHeader() || made[1].Timestamp < 9_950 || newest() > 18_100 {
		t.Fatalf("%d tags of AAC, from %+v to %d ms", len(made), made[:min(2, len(made))], newest())
	}
	if loud := volume(t, ffmpeg, made); loud < -30 || loud > -10 {
		t.Errorf("the tone comes out with %v dB", loud)
	}
}

// tone is 8 s of a tone as AAC.
func tone(t *testing.T, ffmpeg string) []flv.Tag {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tone.flv")
	if out, err := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", "8", "-c:a", "aac", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(ffmpeg, "-v", "error", "-i", path, "-c", "copy", "-f", "flv", "pipe:1").Output()
	if err != nil {
		t.Fatal(err)
	}
	var tags []flv.Tag
	for r := flv.NewReader(bytes.NewReader(out)); ; {
		tag, err := r.Next()
		if err != nil {
			return tags
		}
		tags = append(tags, tag)
	}
}

// volume is how loud ffmpeg finds sound, in dB below the loudest.
func volume(t *testing.T, ffmpeg string, tags []flv.Tag) float64 {
	t.Helper()
	var in bytes.Buffer
	if err := writeFLV(&in)(tags); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(ffmpeg, "-hide_banner", "-i", "pipe:0", "-af", "volumedetect", "-f", "null", "-")
	cmd.Stdin = &in
	out, err := cmd.CombinedOutput()
	found := regexp.MustCompile(`mean_volume: (-?[0-9.]+) dB`).FindSubmatch(out)
	if err != nil || found == nil {
		t.Fatalf("%v: %s", err, out)
	}
	loud, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return loud
}
