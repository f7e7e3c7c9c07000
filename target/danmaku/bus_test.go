package danmaku

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/livedrill/livedrill/target"
)

// TestSecondCopiesAreDropped takes in batches as Redis passes them on after a pipeline that was sent twice.
func TestSecondCopiesAreDropped(t *testing.T) {
	counter := func(name string) prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{Name: name}) }
	s := &server{config: target.Config{Name: "danmaku-b"}, rooms: map[string]*room{"r": {}}, heard: map[string]heard{}, repeated: counter("repeated"),
		relayed: counter("relayed")}
	for _, payload := range []string{"danmaku-a 5 1\nmsg a\n", "danmaku-a 5 2\nmsg b\n", "danmaku-a 5 1\nmsg a\n", "danmaku-a 5 2\nmsg b\n", "danmaku-a 5 3\nmsg c\n",
		"danmaku-b 9 9\nown\n", "danmaku-a 4 7\nof a life before\n", "danmaku-a 6 1\nafter a restart\n", "no number\nx\n", "danmaku-a 6 2 no end"} {
		s.receive(&redis.Message{Channel: channelPrefix + "r", Payload: payload})
	}
	if got := testutil.ToFloat64(s.relayed); got != 4 {
		t.Errorf("%g batches were taken in, want 4", got)
	}
	if got := testutil.ToFloat64(s.repeated); got != 3 {
		t.Errorf("%g were dropped as second copies, want 3", got)
	}
}
