package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// BadDelete deletes rows that are needed, as a statement does whose condition was forgotten. For drills of recovery: livedrill
// puts back at the end what nobody has put back by then.
type BadDelete struct {
	rows
	Rows int `json:"rows" help:"how many, the first by key"`

	was  table
	keys []string // of the rows that were deleted
}

// maxRows is how many rows fit into a journal.
const maxRows = 10_000

// Validate finds settings that cannot work.
func (f *BadDelete) Validate() error {
	err := f.rows.Validate()
	if f.Rows < 1 || f.Rows > maxRows {
		err = errors.Join(err, fmt.Errorf("rows: %d is not between 1 and %d", f.Rows, maxRows))
	}
	return err
}

// table is rows as they were: columns, and values as the server writes them; null stays null.
type table struct {
	Columns []string   `json:"columns"`
	Values  [][][]byte `json:"values"`
	Keys    []string   `json:"keys"`
}

// Passes is part of injectors.Passing: it is there to be mended by somebody before its end.
func (*BadDelete) Passes() {}

// BackEnd is part of injectors.BackEnded.
func (*BadDelete) BackEnd() string { return "DELETE" }

// Check is part of injectors.Fault.
func (f *BadDelete) Check(ctx context.Context, on target.Component) error {
	return (&LockWait{rows: f.rows, Rows: 1}).Check(ctx, on)
}

// Save is part of injectors.Fault: the rows themselves.
func (f *BadDelete) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	db, err := user(on)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if f.was, err = f.read(ctx, db, ""); err != nil {
		return nil, err
	}
	return injectors.Keep(f.was)
}

func (f *BadDelete) read(ctx context.Context, db querier, lock string) (table, error) {
	return f.rows.read(ctx, db, fmt.Sprintf("ORDER BY %s LIMIT %d%s", f.Key, f.Rows, lock))
}

// where reads the row with a key.
func (r rows) where(ctx context.Context, db querier, key string) (table, error) {
	return r.read(ctx, db, fmt.Sprintf("WHERE %s = ?", r.Key), key)
}

// same tells whether two values are the same; null is no empty text.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func (r rows) read(ctx context.Context, db querier, which string, args ...any) (table, error) {
	var t table
	list, err := db.QueryContext(ctx, fmt.Sprintf("SELECT * FROM %s %s", r.Table, which), args...)
	if err != nil {
		return t, err
	}
	defer list.Close()
	if t.Columns, err = list.Columns(); err != nil {
		return t, err
	}
	for list.Next() {
		row := make([][]byte, len(t.Columns))
		into := make([]any, len(row))
		for i := range row {
			into[i] = &row[i]
		}
		if err := list.Scan(into...); err != nil {
			return t, err
		}
		t.Values = append(t.Values, row)
		for i, c := range t.Columns {
			if strings.EqualFold(c, r.Key) {
				t.Keys = append(t.Keys, string(row[i]))
			}
		}
	}
	return t, list.Err()
}

// Inject is part of injectors.Fault. A row that has changed since it was saved stays: what is put back must be what was there.
func (f *BadDelete) Inject(ctx context.Context, on target.Component) error {
	db, err := user(on)
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	now, err := f.read(ctx, tx, " FOR UPDATE")
	if err != nil {
		return err
	}
	f.keys = nil
	var args []any
	for i, key := range now.Keys {
		if at := slices.Index(f.was.Keys, key); at >= 0 && slices.EqualFunc(f.was.Values[at], now.Values[i], same) {
			f.keys, args = append(f.keys, key), append(args, key)
		}
	}
	if len(args) == 0 {
		return errors.New("every row has changed since it was saved")
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s IN (?%s)", f.Table, f.Key, strings.Repeat(",?", len(args)-1)), args...); err != nil {
		return err
	}
	return tx.Commit()
}

// Effect counts how many of the rows are away.
func (f *BadDelete) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	db, err := user(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer db.Close()
	here := 0
	if len(f.keys) > 0 {
		args := make([]any, len(f.keys))
		for i, k := range f.keys {
			args[i] = k
		}
		query := fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s IN (?%s)", f.Table, f.Key, strings.Repeat(",?", len(args)-1))
		if err := db.QueryRowContext(ctx, query, args...).Scan(&here); err != nil {
			return injectors.Measured{}, err
		}
	}
	away := len(f.keys) - here
	return injectors.Measured{N: uint64(len(f.keys)), Asked: map[string]float64{"rows": float64(f.Rows)}, Is: map[string]float64{"rows_away": float64(away)},
		Bites: away > 0, Clean: away == 0, Reason: fmt.Sprintf("%d of %d rows are away", away, len(f.keys))}, nil
}

// Restore is part of injectors.Fault. A row that is there again is left as it is; what is put back is read again before anybody else can
// see it.
func (f *BadDelete) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	var before table
	if err := was.Read(&before); err != nil {
		return err
	}
	db, err := user(on)
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	insert := fmt.Sprintf("INSERT IGNORE INTO %s (%s) VALUES (?%s)", f.Table, strings.Join(before.Columns, ", "),
		strings.Repeat(",?", max(len(before.Columns)-1, 0)))
	for i, row := range before.Values {
		args := make([]any, len(row))
		for i, v := range row {
			if v != nil {
				args[i] = v
			}
		}
		done, err := tx.ExecContext(ctx, insert, args...)
		if err != nil {
			return fmt.Errorf("row %s: %w", before.Keys[i], err)
		}
		n, err := done.RowsAffected()
		if err != nil {
			return fmt.Errorf("row %s: %w", before.Keys[i], err)
		}
		if n == 0 {
			continue // it is there again
		}
		now, err := f.where(ctx, tx, before.Keys[i])
		if err != nil || len(now.Values) != 1 || !slices.EqualFunc(now.Values[0], row, same) {
			return errors.Join(err, fmt.Errorf("row %s: it comes back with other values than before, and none is put back", before.Keys[i]))
		}
	}
	return tx.Commit()
}
