package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Slow makes every statement on a table wait, as behind others that take long: the table is locked in turns, and what waits gets through
// between two of them. Locks of a process that has died went with its connection.
type Slow struct {
	Table string        `json:"table" help:"of the platform's database"`
	By    unit.Duration `json:"by" help:"length of a turn: a statement waits half of it on average, if no other waits before it"`
}

// Validate finds settings that cannot work.
func (f *Slow) Validate() error {
	var errs []error
	if !plainName.MatchString(f.Table) {
		errs = append(errs, fmt.Errorf("table: %q is no plain name", f.Table))
	}
	if d := time.Duration(f.By); d < 50*time.Millisecond || d > 2*time.Second {
		errs = append(errs, fmt.Errorf("by: %s is not between 50ms and 2s", f.By))
	}
	return errors.Join(errs...)
}

// BackEnd is part of injectors.BackEnded.
func (*Slow) BackEnd() string { return "LOCK TABLES" }

func (*Slow) name(on target.Component) string { return "mysql slow " + on.Handles.MySQL.Addr }

// Check is part of injectors.Fault.
func (f *Slow) Check(ctx context.Context, on target.Component) error {
	if err := notReplica(on); err != nil {
		return err
	}
	db, err := user(on)
	if err != nil {
		return err
	}
	defer db.Close()
	if injectors.Begun(f.name(on)) {
		return errors.New("another fault slows it down already")
	}
	_, err = f.ask(ctx, db)
	return err
}

// ask reads nothing from the table and takes the time that it needs.
func (f *Slow) ask(ctx context.Context, db *sql.DB) (time.Duration, error) {
	start := time.Now()
	_, err := db.ExecContext(ctx, "SELECT 1 FROM "+f.Table+" LIMIT 0")
	return time.Since(start), err
}

// Save is part of injectors.Fault.
func (*Slow) Save(context.Context, target.Component) (injectors.Original, error) { return open() }

// Inject is part of injectors.Fault.
func (f *Slow) Inject(ctx context.Context, on target.Component) error {
	db, err := user(on)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	lock := func(ctx context.Context) error {
		_, err := conn.ExecContext(ctx, "LOCK TABLES "+f.Table+" WRITE")
		return err
	}
	if err = lock(ctx); err == nil {
		err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
			defer db.Close()
			defer func() { _ = conn.Close() }() // the lock goes with it
			for target.Wait(ctx, time.Duration(f.By)) {
				if _, err := conn.ExecContext(ctx, "UNLOCK TABLES"); err != nil {
					return // the effect tells
				}
				if lock(ctx) != nil { // it queues behind those who waited
					return
				}
			}
		})
	}
	if err != nil {
		return errors.Join(err, conn.Close(), db.Close())
	}
	return nil
}

// Effect asks a few times as the platform does, and takes the mean of the time that an answer needs.
func (f *Slow) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	const asks = 5
	db, err := user(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer db.Close()
	var sum time.Duration
	for i := range asks {
		took, err := f.ask(ctx, db)
		if err != nil {
			return injectors.Measured{}, err
		}
		sum += took
		target.Wait(ctx, time.Duration(f.By)*time.Duration(i+1)/7) // so that it does not always come at the begin of a turn
	}
	mean, turn := sum/asks, time.Duration(f.By)
	return injectors.Measured{N: asks, Asked: map[string]float64{"answer_seconds": (turn / 2).Seconds()}, Is: map[string]float64{"answer_seconds": mean.Seconds()},
		Bites: mean > turn/5, Clean: mean < turn/10, Reason: fmt.Sprintf("an answer takes %s", mean.Round(time.Millisecond))}, nil
}

// Restore is part of injectors.Fault.
func (f *Slow) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	return nil
}
