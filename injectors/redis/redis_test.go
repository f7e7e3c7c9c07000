package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
)

// server starts a real Redis on a Unix socket.
func server(t *testing.T) target.Component {
	t.Helper()
	on, _ := mortal(t)
	return on
}

// mortal is one that can be killed before the test ends.
func mortal(t *testing.T) (on target.Component, kill func()) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not on this machine")
	}
	dir, err := os.MkdirTemp("", "livedrill")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir, "--maxmemory", "100mb",
		"--maxmemory-policy", "allkeys-lru")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it is told to end
	t.Cleanup(kill)
	client := redis.NewClient(&redis.Options{Addr: socket, Network: "unix"})
	defer client.Close()
	for deadline := time.Now().Add(5 * time.Second); client.Ping(t.Context()).Err() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
	return target.Component{Name: "redis", Handles: target.Handles{Redis: &target.Redis{Addr: socket}}}, kill
}

// TestDeadServer: a server that is down already is refused, and one that dies in the middle is never taken for restored.
func TestDeadServer(t *testing.T) {
	for name, kind := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on, kill := mortal(t)
			c, err := Dial(on)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Set(t.Context(), "room:1", "a room", 0).Err(); err != nil {
				t.Fatal(err)
			}
			f := kind()
			was, err := f.Save(t.Context(), on)
			if err == nil {
				err = f.Inject(t.Context(), on)
			}
			if err != nil {
				t.Fatal(err)
			}
			kill()
			restored := f.Restore(t.Context(), on, was)
			m, seen := f.Effect(t.Context(), on)
			if restored == nil && seen == nil && m.Clean {
				t.Errorf("it is taken for restored: %+v", m)
			}
			for what, err := range map[string]error{"the restoration": restored, "a look": seen} {
				if err != nil && !strings.Contains(err.Error(), on.Handles.Redis.Addr) {
					t.Errorf("%s does not say who is gone: %v", what, err)
				}
			}
			if err := kind().Check(t.Context(), on); err == nil || !strings.Contains(err.Error(), on.Handles.Redis.Addr) {
				t.Errorf("a dead server is refused with %v", err)
			}
		})
	}
}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{
	"oom":           func() injectors.Fault { return &OOM{Ballast: 4} },
	"connections":   func() injectors.Fault { return &Connections{Spare: 3} },
	"flush":         func() injectors.Fault { return &Flush{Match: "room:*"} },
	"hot-key":       func() injectors.Fault { return &HotKey{Size: 10_000, Clients: 3} },
	"fork":          func() injectors.Fault { return &Fork{Ballast: 4} },
	"stale-replica": func() injectors.Fault { return &Replica{Serve: true} },
	"subscribers":   func() injectors.Fault { return &Subscribers{Clients: 3, Each: 2} },
})

func TestMain(m *testing.M) {
	injectortest.Victim(faults)
	os.Exit(m.Run())
}

// TestSubscribersStay: whom the server would close after a time has a successor before; another one, who has none, is closed.
func TestSubscribersStay(t *testing.T) {
	t.Parallel()
	on := server(t)
	c, err := Dial(on)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set := func(limit string) {
		if err := c.ConfigSet(t.Context(), "client-output-buffer-limit", limit).Err(); err != nil {
			t.Fatal(err)
		}
	}
	f := &Subscribers{Clients: 3, Each: 8}
	set("pubsub 9mb 0 0")
	if err := f.Check(t.Context(), on); err == nil || !strings.Contains(err.Error(), "9.0 MiB") {
		t.Errorf("a server that would close them at once is taken: %v", err)
	}
	set("pubsub 32mb 4mb 3")
	other, err := subscribe(t.Context(), on)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	was, err := f.Save(t.Context(), on)
	if err == nil {
		err = f.Inject(t.Context(), on)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Restore(t.Context(), on, was) //nolint:errcheck // the server ends with the test
	target.Wait(t.Context(), 7*time.Second)
	seen := injectors.Measured{}
	for end := time.Now().Add(time.Second); !seen.Bites && time.Now().Before(end); target.Wait(t.Context(), retry) {
		if seen, err = f.Effect(t.Context(), on); err != nil {
			t.Fatal(err)
		}
	}
	if !seen.Bites {
		t.Errorf("after twice the server's time %s", seen.Reason)
	}
	if err := other.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, other); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server closes nobody: this test proves nothing")
	}
}

// TestReadsAreRefusedToo is the other sort of replica.
func TestReadsAreRefusedToo(t *testing.T) {
	on := server(t)
	f := &Replica{}
	was, err := f.Save(t.Context(), on)
	if err == nil {
		err = f.Inject(t.Context(), on)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(on)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Get(t.Context(), "a").Err(); err == nil || !strings.HasPrefix(err.Error(), "MASTERDOWN") {
		t.Errorf("a read is answered with %v", err)
	}
	if m, err := f.Effect(t.Context(), on); err != nil || !m.Bites {
		t.Errorf("in effect: %+v, %v", m, err)
	}
	if err := f.Restore(t.Context(), on, was); err != nil {
		t.Fatal(err)
	}
	if m, err := f.Effect(t.Context(), on); err != nil || !m.Clean {
		t.Errorf("after it: %+v, %v", m, err)
	}
}

// TestFlushKeepsValues has keys of every type, and reads them after it as a client does.
func TestFlushKeepsValues(t *testing.T) {
	t.Parallel()
	on := server(t)
	c, err := Dial(on)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	do := func(args ...any) any {
		t.Helper()
		v, err := c.Do(t.Context(), args...).Result()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return v
	}
	do("SET", "text", "\x00\xff")
	do("PEXPIRE", "text", 3_600_000)
	for i := range 600 { // beyond what is kept as a list: these have no order
		do("HSET", "many", i, i*i)
		do("SADD", "names", fmt.Sprint("name", i))
	}
	do("HSET", "few", "a", 1)
	for i := range 600 { // it was large, and is kept as such by a server that would keep it otherwise when it is put back
		do("HSET", "shrunk", i, i)
	}
	for i := range 590 {
		do("HDEL", "shrunk", i)
	}
	do("RPUSH", "row", 1, 2, 3)
	do("ZADD", "ranks", 1.5, "a", -2, "b")
	do("XADD", "stream", "1-1", "k", "v")
	look := func() string {
		return fmt.Sprint(do("GET", "text"), c.HGetAll(t.Context(), "many").Val(), do("SCARD", "names"), do("SISMEMBER", "names", "name599"),
			c.HGetAll(t.Context(), "few").Val(), c.HGetAll(t.Context(), "shrunk").Val(), do("LRANGE", "row", 0, -1), do("ZRANGE", "ranks", 0, -1, "WITHSCORES"), do("XRANGE", "stream", "-", "+"))
	}
	before := look()
	f := &Flush{Match: "*"}
	restore := injectortest.Inject(t, f, on)
	if n := do("DBSIZE"); n != int64(0) {
		t.Errorf("%v keys are left", n)
	}
	restore()
	injectortest.Gone(t.Context(), t, f, on)
	if after := look(); after != before {
		t.Errorf("%.500s\nwas\n%.500s", after, before)
	}
	if left := c.PTTL(t.Context(), "text").Val(); left < 50*time.Minute || left > time.Hour {
		t.Errorf("text has %s left", left)
	}
}

func TestConformance(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := server(t)
			c, err := Dial(on)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for i := range 20 {
				if err := c.Set(t.Context(), fmt.Sprintf("room:%d", i), "a room", time.Hour).Err(); err != nil {
					t.Fatal(err)
				}
			}
			injectortest.Run(t, injectortest.Case{Kind: name, New: faults[name], On: on, State: func() (any, error) { return state(t.Context(), on) }})
		})
	}
}

// state is all that these faults may change: settings, keys, subscribers, and whether the server answers at once. While it lets
// nobody in, that is its state.
func state(ctx context.Context, on target.Component) (any, error) {
	c, err := Dial(on)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	start := time.Now()
	err = c.Ping(ctx).Err()
	for end := time.Now().Add(200 * time.Millisecond); err != nil && time.Now().Before(end); target.Wait(ctx, retry) {
		err = c.Ping(ctx).Err() // the connections of a victim that was killed are closed in a moment
	}
	if err != nil {
		return err.Error(), nil
	}
	out := map[string]string{"slow": fmt.Sprint(time.Since(start) > turn/4)}
	for _, name := range append([]string{"maxmemory", "maxmemory-policy", "maxclients", forkSettings[0]}, append(snapshotSettings, replicaSettings...)...) {
		if out[name], err = setting(ctx, c, name); err != nil {
			return nil, err
		}
	}
	if out["role"], err = role(ctx, c); err != nil {
		return nil, err
	}
	path, err := snapshotFile(ctx, c)
	if err != nil {
		return nil, err
	}
	_, statErr := os.Lstat(path)
	out["snapshot"] = fmt.Sprint(statErr == nil)
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		return nil, err
	}
	slices.Sort(keys)
	keys = slices.DeleteFunc(keys, func(k string) bool { return k == probeKey }) // it expires by itself
	out["keys"] = strings.Join(keys, " ")
	n, err := c.PubSubNumSub(ctx, deafChannel).Result()
	for end := time.Now().Add(200 * time.Millisecond); err == nil && n[deafChannel] > 0 && n[deafChannel] < 3 && time.Now().Before(end); {
		n, err = c.PubSubNumSub(ctx, deafChannel).Result()
	}
	out["subscribers"] = fmt.Sprint(n[deafChannel] > 0)
	return out, err
}

func TestWithoutRights(t *testing.T) {
	injectortest.AsUser(t, "^TestConformance$/./^(is_proven|another)")
}
