package ranking

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Books is where Redis counts the gifts that were put in, those of them that found the queue full, and those that are in the ranking, each
// in the same step as the gift itself: what it says outlives the gateway and the consumer.
const Books = "queue:books"

// entries are what the books have.
var entries = []string{"put", "later", "done"}

// books reads them, and how many wait, at one moment for all of a scrape.
type books struct {
	client *redis.Client
	mu     sync.Mutex
	at     time.Time
	last   map[string]float64 // by entry or stream; what Redis said last, while it says nothing
}

// scrape is how long a reading stands for all that is asked of it.
const scrape = 100 * time.Millisecond

// of is one of the entries, or how many wait in a stream.
func (b *books) of(ctx context.Context, name string) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.at) < scrape {
		return b.last[name]
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	pipe := b.client.TxPipeline()
	written, first, later := pipe.HMGet(ctx, Books, entries...), pipe.XLen(ctx, Queue), pipe.XLen(ctx, Later)
	_, err := pipe.Exec(ctx)
	if b.at = time.Now(); err != nil {
		return b.last[name]
	}
	b.last = map[string]float64{Queue: float64(first.Val()), Later: float64(later.Val())}
	for i, v := range written.Val() {
		text, _ := v.(string) // nothing was written there yet
		b.last[entries[i]], _ = strconv.ParseFloat(text, 64)
	}
	return b.last[name]
}
