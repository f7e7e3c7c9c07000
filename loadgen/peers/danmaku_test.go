package peers

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lxzan/gws"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/target/danmaku"
)

// What all three sides do: so many members say so much, and every message is acknowledged.
const (
	members     = 1000
	messages    = 10_000 // a second
	chatSeconds = 8
)

var chatURL = fmt.Sprintf("ws://%s:%d/ws", listen, chatPort)

// acknowledge is a WebSocket server that answers "pub ID ..." with "ack ID".
type acknowledge struct {
	gws.BuiltinEventHandler
	n atomic.Uint64
}

func (a *acknowledge) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	a.n.Add(1)
	if _, rest, ok := bytes.Cut(m.Bytes(), []byte("pub ")); ok {
		id, _, _ := bytes.Cut(rest, []byte(" "))
		_ = c.WriteMessage(gws.OpcodeText, append([]byte("ack "), id...)) // it has gone
	}
}

// serveChat acknowledges every message, and says at /count how many there were.
func serveChat() error {
	a := &acknowledge{}
	up := gws.NewUpgrader(a, &gws.ServerOption{})
	return http.ListenAndServe(net.JoinHostPort(listen, strconv.Itoa(chatPort)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/count" {
			fmt.Fprint(w, a.n.Load())
		} else if c, err := up.Upgrade(w, r); err == nil {
			c.ReadLoop()
		}
	}))
}

// bareLoop writes one frame that was made before to each member in turn, and reads what comes back without looking at it. It prints its CPU
// time per message, in seconds.
func bareLoop() error {
	conns := make([]net.Conn, members)
	for i := range conns {
		c, _, err := gws.NewClient(&gws.BuiltinEventHandler{}, &gws.ClientOption{Addr: chatURL}) //nolint:bodyclose // the answer to an upgrade has no body
		if err != nil {
			return err
		}
		conns[i] = c.NetConn()
		go func() {
			for buf := make([]byte, 4096); ; {
				if _, err := conns[i].Read(buf); err != nil {
					return
				}
			}
		}()
	}
	line := "pub 1 " + strconv.FormatInt(time.Now().UnixMicro(), 10) + " abcdefghijklmnopqrstuvwxyzabcdefghijklmn"
	frame := danmaku.AppendMasked(nil, danmaku.TextFrame, []byte(line), 1)
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		return err
	}
	start := time.Now()
	for n := range messages * chatSeconds {
		if wait := time.Until(start.Add(time.Duration(n) * time.Second / messages)); wait > 0 {
			<-time.After(wait)
		}
		if _, err := conns[n%members].Write(frame); err != nil {
			return err
		}
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		return err
	}
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	fmt.Println(float64(spent) / 1e9 / (messages * chatSeconds))
	os.Exit(0)
	return nil
}

// chatScript is the same for k6: every member says something ten times a second.
const chatScript = `
import ws from "k6/ws";
export const options = { vus: %d, duration: "60s" };
export default function () {
  ws.connect("%s", {}, (s) => {
    s.on("open", () => {
      let id = 0;
      s.setInterval(() => s.send("pub " + ++id + " " + Date.now() * 1000 + " abcdefghijklmnopqrstuvwxyzabcdefghijklmn"), %d);
    });
  });
}
`

// BenchmarkDanmaku holds the members' side against a bare loop that writes prebuilt frames, and against k6: CPU time of a message that is sent
// and acknowledged.
func BenchmarkDanmaku(b *testing.B) {
	server(b, "chat", chatPort)
	k6 := need(b, "k6")
	script := filepath.Join(b.TempDir(), "chat.js")
	if err := os.WriteFile(script, fmt.Appendf(nil, chatScript, members, chatURL, 1000*members/messages), 0o644); err != nil {
		b.Fatal(err)
	}
	var ours, bare, theirs float64
	for range rounds {
		l, _ := load(b, "danmaku", "--url", chatURL, "--connections", strconv.Itoa(members), "--rate", fmt.Sprintf("%d/s", messages), "--room-size", "20", "--for", fmt.Sprintf("%ds", chatSeconds))
		ours += l.CPU / l.Achieved / rounds
		_, text := spentAs(b, "bare")
		each, err := strconv.ParseFloat(string(bytes.TrimSpace([]byte(text))), 64)
		if err != nil {
			b.Fatal(err)
		}
		bare += each / rounds
		cpu, n := sampled(b, count(chatPort), chatSeconds*time.Second, k6, "run", "--quiet", "--no-usage-report", script)
		theirs += cpu / n / rounds
	}
	b.ReportMetric(1e6*ours, "us/message")
	b.ReportMetric(1e6*bare, "bare-us/message")
	b.ReportMetric(ours/bare, "of-bare-loop")
	b.ReportMetric(ours/theirs, "of-k6")
}
