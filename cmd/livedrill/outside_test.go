package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/livedrill/livedrill/reports"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/rtc"
)

// TestClientsOutside has clients outside use a kept range: one publishes by WHIP, ffprobe finds picture and sound of it in HLS and FLV, and
// a viewer who joins by WHEP gets both, too.
func TestClientsOutside(t *testing.T) {
	needRange(t)
	state := "XDG_STATE_HOME=" + t.TempDir()
	livedrill := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Env = append(os.Environ(), state)
		return cmd
	}
	out, err := livedrill("target", "up", "--name", "outside", "--expose", "127.0.0.1", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	down := livedrill("target", "down", "--name", "outside")
	t.Cleanup(func() {
		cmd := exec.Command(down.Path, down.Args[1:]...) // the test's context has ended
		cmd.Env = down.Env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	var up struct{ Endpoints map[string]string }
	if err := json.Unmarshal(out, &up); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rtmp", "whip", "whep", "hls", "flv", "api", "danmaku", "metrics"} {
		if up.Endpoints[name] == "" {
			t.Errorf("there is no endpoint %s", name)
		}
	}
	publisher := livedrill("load", "webrtc", "--url", up.Endpoints["whip"], "--for", "60s", "--out", t.TempDir()+"/run")
	if err := publisher.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = publisher.Process.Signal(os.Interrupt) // it may have ended
		_ = publisher.Wait()                       // whatever it thinks of its end
	})

	ready := false
	for range 100 { // HLS is there when the first segments are
		if resp, err := http.Get(up.Endpoints["hls"]); err == nil {
			ready = resp.StatusCode == http.StatusOK
			resp.Body.Close()
		}
		if ready || !target.Wait(t.Context(), 200*time.Millisecond) {
			break
		}
	}
	for _, url := range []string{up.Endpoints["hls"], up.Endpoints["flv"]} {
		probe := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", url)
		found, err := probe.Output()
		if text := string(found); err != nil || !strings.Contains(text, "h264") || !strings.Contains(text, "aac") {
			t.Errorf("ffprobe finds %q at %s (%v)", text, url, err)
		}
	}
	if pictures, packets := watch(t, up.Endpoints["whep"]); pictures < 25 || packets < 50 {
		t.Errorf("a viewer by WHEP got %d packets of pictures and %d of sound in 4 s", pictures, packets)
	}
}

// watch joins by WHEP for 4 s, and counts the packets.
func watch(t *testing.T, url string) (pictures, sound int64) {
	t.Helper()
	peers, err := rtc.NewPeers("", true)
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	pc, err := peers.New()
	if err != nil {
		t.Fatal(err)
	}
	var counts [3]atomic.Int64
	wait := rtc.OnTrack(pc, func(track *webrtc.TrackRemote) {
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
			counts[track.Kind()].Add(1)
		}
	})
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	leave, err := rtc.Offer(ctx, http.DefaultClient, url, pc)
	if err != nil {
		t.Error(err)
	} else {
		target.Wait(ctx, 4*time.Second)
	}
	leave()
	wait()
	return counts[webrtc.RTPCodecTypeVideo].Load(), counts[webrtc.RTPCodecTypeAudio].Load()
}

// TestPublisherComesBack kills an ingest with a stream on it: its publisher comes again with time stamps from 0, long before the old ones are
// reached, and viewers see it at once.
func TestPublisherComesBack(t *testing.T) {
	needRange(t)
	file := filepath.Join(t.TempDir(), "back.yaml")
	if err := os.WriteFile(file, []byte(`name: back
phases: {warm-up: 3s, steady: 12s, recovery: 6s}
load:
  streamers: {kind: rtmp, publishers: 1, bitrate: 400k, viewers: 2, channels: streamers}
  viewers:   {kind: flv, viewers: 2, channels: streamers, streams: 1}
faults:
  - {at: 0s, for: 3s, inject: process.kill, on: ingest-a}
objectives:
  - stall_ratio <= 50% during recovery
`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", file, "--json", "--out", filepath.Join(t.TempDir(), "run"))
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
	out, _ := cmd.Output() // what came of it is in the result
	var r reports.Result
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if o := r.Objectives[0]; o.Measured == nil || *o.Measured > 0.5 || r.Faults[0].State != "restored" {
		t.Errorf("%s: %s (%s); the fault is %s %s", o.Name, reports.Quantity(o.Measured, o.Unit), o.Why, r.Faults[0].State, r.Faults[0].Error)
	}
}

// TestBlindViewers: viewers of an address where nobody listens see nothing, and the load does not say that all is well, however short it is
// and whether their patience has run out or not.
func TestBlindViewers(t *testing.T) {
	t.Parallel()
	for patience, want := range map[string]string{"15s": "not one viewer has seen a picture", "300ms": "unreachable"} {
		t.Run(patience, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), binary, "load", "hls", "--url", "http://127.0.0.1:9/live.m3u8", "--for", "3s", "--with", "patience="+patience, "--out", t.TempDir()+"/run")
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 4 || !strings.Contains(string(out), want) {
				t.Errorf("%v, want exit code 4 and %q:\n%s", err, want, out)
			}
		})
	}
}
