package ranking

import (
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/target"
	redisserver "github.com/livedrill/livedrill/target/redis"
	"github.com/livedrill/livedrill/target/targettest"
)

// aRedis is a real Redis on an address of loopback that no other test uses.
func aRedis(t *testing.T, addr string) (*redis.Client, map[string]string) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not on this machine")
	}
	t.Cleanup(targettest.Start(t, redisserver.Serve, targettest.Config(t, "redis", "redis", addr, nil)))
	full := addr + ":" + strconv.Itoa(target.PortRedis)
	client := redis.NewClient(&redis.Options{Addr: full, Password: "r", DisableIdentity: true})
	t.Cleanup(func() { client.Close() })
	return client, map[string]string{"redis:6379": full}
}

// TestEveryGiftOnce puts gifts into a bounded queue faster than a slow consumer takes them out: those that find it full wait their turn, the
// queue stays short, and in the end the ranking has every coin once, over a restart of the consumer, too.
func TestEveryGiftOnce(t *testing.T) {
	client, peers := aRedis(t, "127.0.9.1")
	c := targettest.Config(t, "ranking", "ranking", "127.0.9.1", peers)
	stop := targettest.Start(t, Serve, c)
	on := target.Component{Name: "ranking", Kind: "ranking", Socket: c.Socket}
	if err := target.Tell(t.Context(), on, "ranking", target.Consumption{Slow: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	const gifts, bound = 200, 10
	later := 0
	for range gifts {
		full, err := Put(t.Context(), client, bound, Gift{Room: 7, User: "user1", Amount: 3})
		if err != nil {
			t.Fatal(err)
		}
		if n := client.XLen(t.Context(), Queue).Val(); n > bound {
			t.Fatalf("%d wait, at most %d may", n, bound)
		}
		if full {
			later++
		}
	}
	if later < gifts/2 {
		t.Errorf("%d of %d found the queue full", later, gifts)
	}
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: Queue, Values: map[string]any{"room": "seven"}}).Err(); err != nil {
		t.Fatal(err)
	}
	stop()
	stop = targettest.Start(t, Serve, c)
	defer stop()
	if err := target.Tell(t.Context(), on, "ranking", target.Consumption{}); err != nil {
		t.Fatal(err)
	}
	if err := target.WaitUntil(t.Context(), 10*time.Second, func() bool {
		return client.XLen(t.Context(), Queue).Val()+client.XLen(t.Context(), Later).Val() == 0
	}); err != nil {
		t.Fatal(err)
	}
	if coins := client.ZScore(t.Context(), "ranking:7", "user1").Val(); coins != 3*gifts {
		t.Errorf("%v coins in the ranking, want %d", coins, 3*gifts)
	}
	kept := &books{client: client} // they know of what the consumer before did, and not of what is no gift
	for name, want := range map[string]float64{"put": gifts, "later": float64(later), "done": gifts, Queue: 0, Later: 0} {
		if got := kept.of(t.Context(), name); got != want {
			t.Errorf("the books have %g for %s, want %g", got, name, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("1700000000000-0", "7", "user1", "10")
	f.Add("x", "", "", "")
	f.Fuzz(func(t *testing.T, id, room, user, amount string) {
		g, at, err := read(redis.XMessage{ID: id, Values: map[string]any{"room": room, "user": user, "amount": amount}})
		if err == nil && (g.User != user || at.IsZero()) {
			t.Errorf("%+v at %s", g, at)
		}
	})
}
