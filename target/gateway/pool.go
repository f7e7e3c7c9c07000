package gateway

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// poolSize is how many connections to MariaDB there are at most.
const poolSize = 32

// poolLook is how often the pool is looked at. What lasts less is seen as often as it is there.
const poolLook = 20 * time.Millisecond

// pool watches how the connections to MariaDB are used, and how long requests wait for one: a queue whose model can be held against it.
type pool struct {
	db   *sql.DB
	busy atomic.Int64 // nanoseconds of all connections together
}

func newPool(db *sql.DB, m *record.Metrics) *pool {
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	p := &pool{db: db}
	m.Gauge("livedrill_gateway_database_connections_limit", "Connections to MariaDB, at most.", nil).Set(poolSize)
	m.CounterFunc("livedrill_gateway_database_busy_seconds_total", "Time that connections to MariaDB were in use, of all together.", nil,
		func() float64 { return time.Duration(p.busy.Load()).Seconds() })
	m.CounterFunc("livedrill_gateway_database_waited_seconds_total", "Time that requests waited for a connection to MariaDB, of all together.", nil,
		func() float64 { return db.Stats().WaitDuration.Seconds() })
	return p
}

// run looks until ctx ends.
func (p *pool) run(ctx context.Context) error {
	last := time.Now()
	for target.Wait(ctx, poolLook) {
		now := time.Now()
		p.busy.Add(int64(p.db.Stats().InUse) * int64(now.Sub(last)))
		last = now
	}
	return nil
}
