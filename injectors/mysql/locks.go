package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// LockWait holds locks on rows in a transaction that does not end: whoever needs them waits (error 1205 in the end).
type LockWait struct {
	rows
	Rows int `json:"rows" help:"how many, the first by key"`
}

// Validate finds settings that cannot work.
func (f *LockWait) Validate() error {
	err := f.rows.Validate()
	if f.Rows < 1 || f.Rows > 100_000 {
		err = errors.Join(err, fmt.Errorf("rows: %d is not between 1 and 100000", f.Rows))
	}
	return err
}

// BackEnd is part of injectors.BackEnded.
func (*LockWait) BackEnd() string { return "FOR UPDATE" }

func (*LockWait) name(on target.Component) string { return "mysql locks " + on.Handles.MySQL.Addr }

// Check is part of injectors.Fault.
func (f *LockWait) Check(ctx context.Context, on target.Component) error {
	if err := notReplica(on); err != nil {
		return err
	}
	db, err := user(on)
	if err != nil {
		return err
	}
	defer db.Close()
	keys, err := f.first(ctx, db, 1)
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("table %s has no row", f.Table)
	}
	return err
}

// Save is part of injectors.Fault.
func (*LockWait) Save(context.Context, target.Component) (injectors.Original, error) { return open() }

func (f *LockWait) lock(extra string) string {
	return fmt.Sprintf("SELECT %s FROM %s ORDER BY %s LIMIT %d FOR UPDATE%s", f.Key, f.Table, f.Key, f.Rows, extra)
}

// Inject is part of injectors.Fault. The locks are held when it returns.
func (f *LockWait) Inject(ctx context.Context, on target.Component) error {
	db, err := user(on)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err == nil {
		if _, err = tx.ExecContext(ctx, f.lock("")); err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}
	if err == nil {
		err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
			defer db.Close()
			<-ctx.Done()
			_ = tx.Rollback() // else the end of the connection does it
		})
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

// Effect asks for the same locks without waiting, row by row for the first of them.
func (f *LockWait) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	db, err := user(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer db.Close()
	keys, err := f.first(ctx, db, min(f.Rows, 20))
	if err != nil {
		return injectors.Measured{}, err
	}
	held := 0
	var other error
	for _, key := range keys {
		_, err := db.ExecContext(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s = ? FOR UPDATE NOWAIT", f.Key, f.Table, f.Key), key)
		switch {
		case err == nil:
		case number(err) == errLockWaitTimeout:
			held++
		default:
			other = err
		}
	}
	m := injectors.Measured{N: uint64(len(keys)), Asked: map[string]float64{"locked_ratio": 1}, Is: map[string]float64{"locked_ratio": float64(held) / float64(max(len(keys), 1))},
		Bites: held > 0 && held == len(keys), Clean: held == 0 && other == nil, Reason: fmt.Sprintf("%d of %d rows are locked", held, len(keys))}
	if other != nil {
		m.Reason += ": " + other.Error()
	}
	return m, nil
}

// Restore is part of injectors.Fault. Locks of a process that has died went with its connection.
func (f *LockWait) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	return nil
}

// Deadlock makes two transactions take the same two rows in opposite order, again and again. The server ends one of them each
// time (error 1213); others who take the same rows may be the victims.
type Deadlock struct {
	rows

	ended *atomic.Int64 // transactions that the server has ended with error 1213
}

// BackEnd is part of injectors.BackEnded.
func (*Deadlock) BackEnd() string { return "FOR UPDATE" }

func (*Deadlock) name(on target.Component) string { return "mysql deadlocks " + on.Handles.MySQL.Addr }

// Check is part of injectors.Fault.
func (f *Deadlock) Check(ctx context.Context, on target.Component) error {
	if err := notReplica(on); err != nil {
		return err
	}
	db, err := user(on)
	if err != nil {
		return err
	}
	defer db.Close()
	keys, err := f.first(ctx, db, 2)
	if err == nil && len(keys) < 2 {
		err = fmt.Errorf("table %s has fewer than two rows", f.Table)
	}
	return err
}

// Save is part of injectors.Fault.
func (*Deadlock) Save(context.Context, target.Component) (injectors.Original, error) { return open() }

// Inject is part of injectors.Fault.
func (f *Deadlock) Inject(ctx context.Context, on target.Component) error {
	db, err := user(on)
	if err != nil {
		return err
	}
	keys, err := f.first(ctx, db, 2)
	if err == nil && len(keys) < 2 {
		err = fmt.Errorf("table %s has fewer than two rows", f.Table)
	}
	if err == nil {
		ended := &atomic.Int64{}
		f.ended = ended
		err = injectors.Begin(ctx, f.name(on), func(ctx context.Context) {
			defer db.Close()
			for ctx.Err() == nil {
				f.embrace(ctx, db, keys, ended)
			}
		})
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

// embrace is one deadlock: both take their first row, then the other's, and the server ends one of them.
func (f *Deadlock) embrace(ctx context.Context, db *sql.DB, keys []string, ended *atomic.Int64) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var ready, wg sync.WaitGroup
	ready.Add(2)
	for i := range 2 {
		wg.Go(func() {
			tx, err := db.BeginTx(ctx, nil)
			if err == nil {
				defer tx.Rollback() //nolint:errcheck // the server has ended one of the two
				err = f.take(ctx, tx, keys[i])
			}
			ready.Done()
			ready.Wait()
			if err == nil {
				if number(f.take(ctx, tx, keys[1-i])) == errDeadlock {
					ended.Add(1)
				}
			}
		})
	}
	wg.Wait()
	target.Wait(ctx, 10*time.Millisecond)
}

func (f *Deadlock) take(ctx context.Context, tx *sql.Tx, key string) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s = ? FOR UPDATE", f.Key, f.Table, f.Key), key)
	return err
}

// Effect reads the server's own count of deadlocks for a second, and counts the transactions that it has ended with error 1213 meanwhile.
func (f *Deadlock) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	db, err := admin(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer db.Close()
	const counter = "Innodb_deadlocks"
	before, err := status(ctx, db, counter)
	if err != nil {
		return injectors.Measured{}, err
	}
	ended := f.ended
	if ended == nil { // this process has begun none
		ended = &atomic.Int64{}
	}
	errorsBefore := ended.Load()
	if !target.Wait(ctx, time.Second) {
		return injectors.Measured{}, ctx.Err()
	}
	after, err := status(ctx, db, counter)
	n, errs := after-before, float64(ended.Load()-errorsBefore)
	return injectors.Measured{N: uint64(max(n, 1)), Asked: map[string]float64{"deadlocks_at_least": 1}, Is: map[string]float64{"deadlocks": n, "errors_1213": errs},
		Bites: n >= 1 && errs >= 1, Clean: n == 0, Reason: fmt.Sprintf("%.0f deadlocks in a second, %.0f transactions were ended for them", n, errs)}, err
}

// Restore is part of injectors.Fault.
func (f *Deadlock) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	injectors.End(f.name(on))
	return nil
}
