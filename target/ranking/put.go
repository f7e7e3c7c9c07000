package ranking

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// bounded puts a gift into the first queue, or into the other one when that is full, and into the books. Redis does it in one step.
var bounded = redis.NewScript(`local full = tonumber(ARGV[1]) > 0 and redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1])
redis.call('XADD', full and KEYS[2] or KEYS[1], '*', 'room', ARGV[2], 'user', ARGV[3], 'amount', ARGV[4])
redis.call('HINCRBY', KEYS[3], 'put', 1)
if full then redis.call('HINCRBY', KEYS[3], 'later', 1) end
return full and 1 or 0`)

// Put puts a gift into the queue, behind at most a number of others; 0 is no bound. It tells whether the queue was full: then the gift waits
// with those for which there was no room.
func Put(ctx context.Context, client redis.Scripter, bound int, g Gift) (full bool, err error) {
	n, err := bounded.Run(ctx, client, []string{Queue, Later, Books}, bound, g.Room, g.User, g.Amount).Int()
	return n == 1, err
}
