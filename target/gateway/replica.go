package gateway

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// reads is where rooms, users and accounts are read: MariaDB itself, or the replica that it has. A replica may not know yet what was written a
// moment ago. With the defence it is asked whether it has the user's last gift (MASTER_GTID_WAIT); where not, the primary is read.
type reads struct {
	primary, replica *sql.DB // the same where there is no replica
	fresh            bool
	turned           prometheus.Counter // reads that the primary had to answer
	mu               sync.Mutex
	last             map[string]string // position of each user's last gift
}

func newReads(primary, replica *sql.DB, fresh bool, m *record.Metrics) *reads {
	return &reads{primary: primary, replica: replica, fresh: fresh && primary != replica, last: map[string]string{},
		turned: m.Counter("livedrill_gateway_primary_reads_total", "Reads of accounts that went to the primary, as the replica did not have the user's last gift.", nil)}
}

// ready waits until the replica has the first rows.
func (r *reads) ready(ctx context.Context) error {
	for {
		var n int
		err := r.replica.QueryRowContext(ctx, "SELECT COUNT(*) FROM rooms").Scan(&n)
		if err == nil && n >= Rooms {
			return nil
		}
		if !target.Wait(ctx, startLook) {
			return fmt.Errorf("gateway: replica: %w (%d of %d rooms)", ctx.Err(), n, Rooms)
		}
	}
}

// wrote notes how far the log was when a user's gift was committed on this connection.
func (r *reads) wrote(ctx context.Context, conn *sql.Conn, user string) {
	if !r.fresh {
		return
	}
	var position string
	if err := conn.QueryRowContext(ctx, "SELECT @@last_gtid").Scan(&position); err != nil {
		position = "unknown" // which no replica has
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if number(position) >= number(r.last[user]) { // who was committed later may be here sooner
		r.last[user] = position
	}
}

// number is the last part of a position (domain-server-number); of what is no position, it is the highest.
func number(position string) uint64 {
	if position == "" {
		return 0
	}
	n, err := strconv.ParseUint(position[strings.LastIndexByte(position, '-')+1:], 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}

// of gives the server that has all that the user did.
func (r *reads) of(ctx context.Context, user string) *sql.DB {
	if !r.fresh {
		return r.replica
	}
	r.mu.Lock()
	position := r.last[user]
	r.mu.Unlock()
	if position == "" {
		return r.replica
	}
	var behind int
	if err := r.replica.QueryRowContext(ctx, "SELECT MASTER_GTID_WAIT(?, 0)", position).Scan(&behind); err != nil || behind != 0 {
		r.turned.Inc()
		return r.primary
	}
	return r.replica
}
