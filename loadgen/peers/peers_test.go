// Package peers holds livedrill's load against that of well-known tools, side by side in one run: who needs how much of the processor for
// the same work. make bench-setup installs them, make bench prints the ratios.
package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v3/process"
	"github.com/valyala/fasthttp"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/ingest"
)

// listen is an address of loopback that nobody else is likely to use.
const listen = "127.0.0.9"

const (
	webPort     = 8181
	gatewayPort = 8182
	chatPort    = 8183
	rounds      = 3 // of each tool, in turns
	warmUp      = 3 // seconds that livedrill load begins with; its own account is of the time behind it
)

// serverKey is the environment variable that makes the test binary the server that all are held against.
const serverKey = "LIVEDRILL_BENCH_SERVER"

func TestMain(m *testing.M) {
	serve, ok := map[string]func() error{"http": serveHTTP, "rtmp": serveRTMP, "chat": serveChat, "bare": bareLoop}[os.Getenv(serverKey)]
	if !ok {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, serve())
	os.Exit(1)
}

// serveHTTP answers every request alike, and says at /count how many there were.
func serveHTTP() error {
	var n atomic.Uint64
	return fasthttp.ListenAndServe(net.JoinHostPort(listen, strconv.Itoa(webPort)), func(c *fasthttp.RequestCtx) {
		if string(c.Path()) == "/count" {
			fmt.Fprint(c, n.Load())
			return
		}
		n.Add(1)
		c.WriteString(`{"ok":true}`) //nolint:errcheck // into memory
	})
}

// serveRTMP is the bundled ingest, beside a gateway that takes every stream key for a channel and a transcoder that does nothing.
func serveRTMP() error {
	nobody := net.JoinHostPort(listen, strconv.Itoa(gatewayPort))
	go func() {
		_ = http.ListenAndServe(nobody, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]string{"channel": r.FormValue("key")})
		}))
	}()
	dir, err := os.MkdirTemp("", "ld")
	if err != nil {
		return err
	}
	return ingest.Serve(context.Background(), target.Config{Name: "ingest", Kind: "ingest", Listen: listen, Socket: filepath.Join(dir, "s"),
		Peers: map[string]string{fmt.Sprintf("gateway:%d", target.PortHTTP): nobody, fmt.Sprintf("transcode:%d", target.PortHTTP): nobody}})
}

// server starts the test binary as a server and gives a reading of its CPU time.
func server(b *testing.B, kind string, port int) (cpu func() float64) {
	b.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), serverKey+"="+kind)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it is told to end
	if err := target.WaitUntil(b.Context(), 10*time.Second, func() bool {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(listen, strconv.Itoa(port)), time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}); err != nil {
		b.Fatal(err)
	}
	p, err := process.NewProcess(int32(cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	return func() float64 {
		t, err := p.Times()
		if err != nil {
			b.Fatal(err)
		}
		return t.User + t.System
	}
}

// need gives the path of a program, or skips.
func need(b *testing.B, name string) string {
	b.Helper()
	own, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	if err == nil {
		if _, err = os.Stat(own); err == nil {
			return own
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		b.Skipf("%s is not on this machine: make bench-setup", name)
	}
	return path
}

// notHeld is the exit code of a load that could not be made as asked for; its account says so.
const notHeld = 4

// spent runs a program and gives the CPU time that it took, in seconds, and what it printed.
func spent(b *testing.B, in io.Reader, name string, args ...string) (float64, string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != notHeld {
		b.Errorf("%s: %v: %s", filepath.Base(name), err, errs.String())
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), out.String()
}

// spentAs runs the test binary as something else.
func spentAs(b *testing.B, what string) (float64, string) {
	b.Helper()
	b.Setenv(serverKey, what)
	defer os.Unsetenv(serverKey) //nolint:errcheck // it is there
	return spent(b, nil, "/proc/self/exe")
}

// count reads how much a server of ours has been asked.
func count(port int) func() float64 {
	return func() float64 {
		resp, err := http.Get(fmt.Sprintf("http://%s:%d/count", listen, port))
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		n, parseErr := strconv.ParseFloat(string(text), 64)
		if err != nil || parseErr != nil {
			return 0
		}
		return n
	}
}

// sampled runs a program for a time, and gives the CPU time that it took and how much it asked of a server behind its start: its first half.
func sampled(b *testing.B, asked func() float64, d time.Duration, name string, args ...string) (cpu, n float64) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), name, args...)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // it would go on
		_ = cmd.Wait()
	}()
	p, err := process.NewProcess(int32(cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	reading := func() (float64, float64) {
		t, err := p.Times()
		if err != nil {
			b.Fatal(err)
		}
		return t.User + t.System, asked()
	}
	target.Wait(b.Context(), d)
	cpu, n = reading()
	target.Wait(b.Context(), d)
	after, all := reading()
	if all == n {
		b.Fatalf("%s asks for nothing", filepath.Base(name))
	}
	return after - cpu, all - n
}

// account is what livedrill says of a load that it made.
type account struct {
	Kind                      string
	Offered, Achieved, Failed float64
	RateAchieved              float64 `json:"rate_achieved"`
	LateP99                   float64 `json:"late_p99_ms"`
	CPU                       float64 `json:"cpu_s"`
}

// load runs one of livedrill's loads and gives its own account.
func load(b *testing.B, args ...string) (account, map[string]map[string]*float64) {
	b.Helper()
	_, text := spent(b, nil, need(b, "livedrill"), append(append([]string{"load"}, args...), "--json", "--out", filepath.Join(b.TempDir(), "run"))...)
	var answer struct {
		Loads []account
		SLIs  map[string]map[string]*float64
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		b.Fatalf("livedrill load %s: %v\n%s", args[0], err, text)
	}
	for _, l := range answer.Loads { // viewers have publishers beside them
		if l.Kind == args[0] {
			return l, answer.SLIs
		}
	}
	b.Fatalf("livedrill load %s says nothing of it:\n%s", args[0], text)
	return account{}, nil
}

// webScript has k6 ask as often as it can hold on two cores.
const webScript = `
import http from "k6/http";
export const options = { discardResponseBodies: true,
  scenarios: { s: { executor: "constant-arrival-rate", rate: 8000, timeUnit: "1s", duration: "60s", preAllocatedVUs: 64 } } };
export default function () { http.get("%s"); }
`

// BenchmarkHTTP holds the pool against wrk, which asks as fast as it is answered, vegeta's attacker and k6: CPU time of a request.
func BenchmarkHTTP(b *testing.B) {
	server(b, "http", webPort)
	wrk, vegeta, k6 := need(b, "wrk"), need(b, "vegeta"), need(b, "k6")
	url := fmt.Sprintf("http://%s:%d/", listen, webPort)
	script := filepath.Join(b.TempDir(), "http.js")
	if err := os.WriteFile(script, fmt.Appendf(nil, webScript, url), 0o644); err != nil {
		b.Fatal(err)
	}
	asked := count(webPort)
	sum := map[string]struct{ cpu, n float64 }{}
	add := func(who string, cpu, n float64) {
		s := sum[who]
		s.cpu, s.n = s.cpu+cpu, s.n+n
		sum[who] = s
	}
	var late, achieved float64
	for range rounds {
		ours, _ := load(b, "http", "--url", url, "--rate", "50000/s", "--for", "6s")
		add("livedrill", ours.CPU, ours.Achieved)
		late, achieved = max(late, ours.LateP99), achieved+ours.RateAchieved/rounds
		before := asked()
		cpu, _ := spent(b, nil, wrk, "-t1", "-c64", "-d6s", url)
		add("wrk", cpu, asked()-before)
		before = asked()
		cpu, _ = spent(b, strings.NewReader("GET "+url+"\n"), vegeta, "attack", "-rate=15000", "-duration=6s", "-max-workers=128", "-connections=128", "-output=/dev/null")
		add("vegeta", cpu, asked()-before)
		cpu, n := sampled(b, asked, 4*time.Second, k6, "run", "--quiet", "--no-usage-report", script)
		add("k6", cpu, n)
	}
	each := func(who string) float64 { return 1e6 * sum[who].cpu / sum[who].n }
	b.ReportMetric(achieved, "achieved/s")
	b.ReportMetric(late, "late-p99-ms")
	b.ReportMetric(each("livedrill"), "us/request")
	b.ReportMetric(each("livedrill")/each("wrk"), "of-wrk")
	b.ReportMetric(each("livedrill")/each("vegeta"), "of-vegeta")
	b.ReportMetric(each("livedrill")/each("k6"), "of-k6")
}

// BenchmarkRTMP holds publishers against ffmpeg -c copy, both into the bundled ingest at 1 Mbit/s and 25 frames a second: CPU time of a
// second of a stream.
func BenchmarkRTMP(b *testing.B) {
	ingestCPU := server(b, "rtmp", target.PortRTMP)
	ffmpeg := need(b, "ffmpeg")
	clip := filepath.Join(b.TempDir(), "clip.flv")
	spent(b, nil, ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine", "-t", "20", "-c:v", "libx264",
		"-preset", "ultrafast", "-b:v", "1M", "-maxrate", "1M", "-bufsize", "1M", "-g", "50", "-c:a", "aac", clip)
	const seconds, few, many = 8, 8, 200
	var ours, theirs, ingest float64
	for range rounds {
		before := ingestCPU()
		l, _ := load(b, "rtmp", "--url", "rtmp://"+listen+"/live", "--publishers", strconv.Itoa(many), "--bitrate", "1M", "--fps", "25", "--for", fmt.Sprintf("%ds", seconds))
		if l.Failed > 0 {
			b.Fatalf("%g publishers failed: their processor time says nothing", l.Failed)
		}
		ours += l.CPU / (many * seconds) / rounds
		ingest += (ingestCPU() - before) / (many * (warmUp + seconds)) / rounds
		done := make(chan float64, few)
		for i := range few {
			go func() {
				cpu, _ := spent(b, nil, ffmpeg, "-v", "error", "-nostdin", "-re", "-t", strconv.Itoa(seconds), "-i", clip, "-c", "copy", "-f", "flv",
					fmt.Sprintf("rtmp://%s/live/ffmpeg-%d", listen, i))
				done <- cpu
			}()
		}
		for range few {
			theirs += <-done / (few * seconds) / rounds
		}
	}
	b.ReportMetric(1000*ours, "ms/stream-second")
	b.ReportMetric(1000*ingest, "ingest-ms/stream-second")
	b.ReportMetric(ours/theirs, "of-ffmpeg")
}

// BenchmarkHeld makes the loads that livedrill is to hold for a minute beside the platform, and prints what came of them.
func BenchmarkHeld(b *testing.B) {
	b.Run("rtmp", func(b *testing.B) {
		ingestCPU := server(b, "rtmp", target.PortRTMP)
		before := ingestCPU()
		l, _ := load(b, "rtmp", "--url", "rtmp://"+listen+"/live", "--publishers", "1000", "--bitrate", "1M", "--fps", "25", "--for", "60s")
		b.ReportMetric(l.Failed, "failed")
		b.ReportMetric(l.LateP99, "late-p99-ms")
		b.ReportMetric(1000*l.CPU/60_000, "ms/stream-second")
		b.ReportMetric(1000*(ingestCPU()-before)/(1000*(warmUp+60)), "ingest-ms/stream-second")
	})
	b.Run("webrtc", func(b *testing.B) {
		ingestCPU := server(b, "rtmp", target.PortHTTP)
		before := ingestCPU()
		l, _ := load(b, "webrtc", "--url", fmt.Sprintf("http://%s:%d/whip/bench", listen, target.PortHTTP), "--publishers", "300", "--bitrate", "500k", "--with", "sound=false", "--for", "60s")
		b.ReportMetric(l.Failed, "failed")
		b.ReportMetric(l.LateP99, "late-p99-ms")
		b.ReportMetric(1000*l.CPU/18_000, "ms/stream-second")
		b.ReportMetric(1000*(ingestCPU()-before)/(300*(warmUp+60)), "ingest-ms/stream-second")
	})
	b.Run("danmaku", func(b *testing.B) {
		l, slis := load(b, "danmaku", "--connections", "1000", "--rate", "50000/s", "--room-size", "20", "--for", "60s")
		b.ReportMetric(l.RateAchieved, "messages/s")
		b.ReportMetric(l.LateP99, "late-p99-ms")
		b.ReportMetric(1e6*l.CPU/max(l.Achieved, 1), "us/message")
		report(b, slis, "danmaku_delivery_ratio", "delivered")
	})
	b.Run("hls", func(b *testing.B) {
		l, slis := load(b, "hls", "--viewers", "2000", "--region", "north=100%", "--for", "60s")
		b.ReportMetric(l.Failed, "failed")
		b.ReportMetric(1000*l.CPU/120_000, "ms/viewer-second")
		report(b, slis, "stall_ratio", "stalled")
	})
}

// report adds an SLI's value over the whole run, where there is one.
func report(b *testing.B, slis map[string]map[string]*float64, name, as string) {
	if v := slis[name]["value"]; v != nil {
		b.ReportMetric(*v, as)
	}
}
