package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// bufferLimit is when a server closes a subscriber that does not read (redis.conf, client-output-buffer-limit); 0 is never.
type bufferLimit struct {
	hard, soft int64         // bytes that wait: at once, or when it lasts
	after      time.Duration // of soft
}

// limitOf asks the server for it. Of one that does not tell, Redis' own defaults are taken.
func limitOf(ctx context.Context, c *redis.Client) bufferLimit {
	limit := bufferLimit{hard: 32 << 20, soft: 8 << 20, after: time.Minute}
	text, err := setting(ctx, c, "client-output-buffer-limit")
	if err != nil {
		return limit
	}
	_, of, _ := strings.Cut(text, "pubsub ")
	var n [3]int64
	fields := strings.Fields(of)
	if len(fields) < len(n) {
		return limit
	}
	for i := range n {
		if n[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return limit
		}
	}
	limit = bufferLimit{hard: n[0], soft: n[1], after: time.Duration(n[2]) * time.Second}
	if limit.after == 0 { // both must be set
		limit.soft = 0
	}
	return limit
}
