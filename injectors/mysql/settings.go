package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// ReadOnly lets nobody write, as after a failover to a replica that nobody has promoted.
type ReadOnly struct{}

const readOnly = global("read_only")

// Validate finds settings that cannot work; there are none.
func (*ReadOnly) Validate() error { return nil }

// BackEnd is part of injectors.BackEnded.
func (*ReadOnly) BackEnd() string { return "read_only" }

// Check is part of injectors.Fault.
func (*ReadOnly) Check(ctx context.Context, on target.Component) error {
	return errors.Join(notReplica(on), check(ctx, on))
}

// Save is part of injectors.Fault.
func (*ReadOnly) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return readOnly.save(ctx, on)
}

// Inject is part of injectors.Fault.
func (*ReadOnly) Inject(ctx context.Context, on target.Component) error {
	db, err := admin(on)
	if err != nil {
		return err
	}
	defer db.Close()
	return readOnly.write(ctx, db, 1)
}

// Effect tries a statement that writes, and would change nothing, as the platform.
func (*ReadOnly) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	const tries = 10
	db, err := user(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer db.Close()
	refused := 0
	var other error
	for range tries {
		_, err := db.ExecContext(ctx, "DROP TABLE IF EXISTS livedrill_no_such_table")
		switch {
		case err == nil:
		case number(err) == errReadOnly:
			refused++
		default:
			other = err
		}
	}
	m := injectors.Measured{N: tries, Asked: map[string]float64{"refused_write_ratio": 1}, Is: map[string]float64{"refused_write_ratio": float64(refused) / tries},
		Bites: refused == tries, Clean: refused == 0 && other == nil, Reason: fmt.Sprintf("%d of %d writes were refused", refused, tries)}
	for name := range m.Asked {
		m.Bound(name, tries)
	}
	if other != nil {
		m.Reason += ": " + other.Error()
	}
	return m, nil
}

// Restore is part of injectors.Fault.
func (*ReadOnly) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	return readOnly.restore(ctx, on, was)
}

// Connections lets nobody new in (error 1040): the limit is put to the connections that are there.
type Connections struct{}

const maxConnections = global("max_connections")

// leastConnections is the smallest limit that the server takes.
const leastConnections = 10

// Validate finds settings that cannot work; there are none.
func (*Connections) Validate() error { return nil }

// BackEnd is part of injectors.BackEnded.
func (*Connections) BackEnd() string { return "max_connections" }

func (*Connections) name(on target.Component) string {
	return "mysql connections " + on.Handles.MySQL.Addr
}

// Check is part of injectors.Fault.
func (*Connections) Check(ctx context.Context, on target.Component) error { return check(ctx, on) }

// Save is part of injectors.Fault.
func (*Connections) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return maxConnections.save(ctx, on)
}

// Inject is part of injectors.Fault. Where fewer are there than the least limit, the rest is taken by connections of ours. The
// administrator's one extra connection stays free: by it the limit is lifted again.
func (f *Connections) Inject(ctx context.Context, on target.Component) error {
	db, err := admin(on)
	if err != nil {
		return err
	}
	defer db.Close()
	there, err := status(ctx, db, "Threads_connected")
	if err != nil {
		return err
	}
	was, err := f.Save(ctx, on)
	if err != nil {
		return err
	}
	mine, err := user(on)
	if err != nil {
		return err
	}
	var held []*sql.Conn
	release := func() {
		for _, c := range held {
			_ = c.Close() // it was held for nothing
		}
		_ = mine.Close()
	}
	limit := int64(max(there-1, leastConnections)) // without the one that asked
	if err := maxConnections.write(ctx, db, limit); err != nil {
		release()
		return err
	}
	for range 2 * leastConnections {
		c, err := mine.Conn(ctx)
		if err != nil {
			break // it is full, and the effect tells whether it is
		}
		held = append(held, c)
	}
	if err := injectors.Begin(ctx, f.name(on), func(ctx context.Context) { <-ctx.Done(); release() }); err != nil {
		release()
		return errors.Join(err, maxConnections.restore(context.WithoutCancel(ctx), on, was))
	}
	return nil
}

// Effect connects as the platform does and counts what is refused for being one too many.
func (*Connections) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	const tries = 10
	refused := 0
	var other error
	for range tries {
		db, err := user(on)
		if err != nil {
			return injectors.Measured{}, err
		}
		switch err := db.PingContext(ctx); {
		case err == nil:
		case number(err) == errTooManyConnections:
			refused++
		default:
			other = err
		}
		_ = db.Close()
	}
	m := injectors.Measured{N: tries, Asked: map[string]float64{"refused_connection_ratio": 1},
		Is:    map[string]float64{"refused_connection_ratio": float64(refused) / tries},
		Bites: refused == tries, Clean: refused == 0 && other == nil, Reason: fmt.Sprintf("%d of %d new connections were refused", refused, tries)}
	for name := range m.Asked {
		m.Bound(name, tries)
	}
	if other != nil {
		m.Reason += ": " + other.Error()
	}
	return m, nil
}

// Restore is part of injectors.Fault.
func (f *Connections) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	injectors.End(f.name(on))
	return maxConnections.restore(ctx, on, was)
}
