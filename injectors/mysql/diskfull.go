package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/target"
)

// DiskFull fills the disk that the server has its data on: what needs more room there is refused by the server, and the rest goes on.
type DiskFull struct{ disk resource.DiskFull }

// Validate finds settings that cannot work; there are none.
func (*DiskFull) Validate() error { return nil }

// BackEnd is part of injectors.BackEnded.
func (f *DiskFull) BackEnd() string { return f.disk.BackEnd() }

// Save is part of injectors.Fault.
func (f *DiskFull) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return f.disk.Save(ctx, on)
}

// full tells whether the server says of an error that there is no room: by a number of its own, or by the words of the kernel in another one's text.
func full(err error) bool {
	return slices.Contains([]uint16{errDiskFull, errTableFull}, number(err)) || number(err) != 0 && strings.Contains(err.Error(), "No space left on device")
}

// probeTable is a table of ours.
const probeTable = "room_of_livedrill"

// Check is part of injectors.Fault.
func (f *DiskFull) Check(ctx context.Context, on target.Component) error {
	if err := errors.Join(notReplica(on), f.disk.Check(ctx, on)); err != nil {
		return err
	}
	db, err := admin(on)
	if err != nil {
		return err
	}
	defer db.Close()
	var logs bool
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.log_bin").Scan(&logs); err != nil {
		return err
	}
	if logs {
		return errors.New("it has a binary log: a server that cannot write there refuses nothing, it tries again once a minute (resource.disk-full)")
	}
	return nil
}

// Inject is part of injectors.Fault. The table is made before the disk is full: then a server can make none, nor take one away.
func (f *DiskFull) Inject(ctx context.Context, on target.Component) error {
	db, err := user(on)
	if err != nil {
		return err
	}
	defer db.Close()
	if err = makeTable(ctx, db); err == nil {
		err = f.disk.Inject(ctx, on)
	}
	if err != nil {
		return errors.Join(err, dropTable(ctx, db))
	}
	return nil
}

// Statements of a table have a time of their own once they have begun: one that is given up may be carried out all the same.
const tableLimit = 5 * time.Second

func makeTable(ctx context.Context, db *sql.DB) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return change(ctx, db, "CREATE TABLE IF NOT EXISTS "+probeTable+" (room VARBINARY(8000)) ENGINE=InnoDB")
}

func dropTable(ctx context.Context, db *sql.DB) error {
	return change(ctx, db, "DROP TABLE IF EXISTS "+probeTable)
}

func change(ctx context.Context, db *sql.DB, statement string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tableLimit)
	defer cancel()
	return patiently(ctx, func() error {
		_, err := db.ExecContext(ctx, statement)
		return err
	})
}

// Effect puts up to 4 MiB into the table as the platform does, row by row: a server that has to take back more, and has no room for that either,
// ends itself. It bites when the server refuses a row for want of room, by its own error, and is clean when it takes all of them.
func (f *DiskFull) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	m := injectors.Measured{N: 1, Asked: map[string]float64{"refused": 1}, Is: map[string]float64{"refused": 0}}
	db, err := user(on)
	if err != nil {
		return m, err
	}
	defer db.Close()
	if !injectors.Begun(f.disk.Name(on)) { // else the table is there, and could not be made
		if err := makeTable(ctx, db); err != nil {
			return m, err
		}
		defer dropTable(ctx, db) //nolint:errcheck // it is taken away by the restoration, too
	}
	n, err := insert(ctx, db)
	switch m.N = n; {
	case full(err):
		m.Bites, m.Is["refused"], m.Is["error"] = true, 1, float64(number(err))
		m.Reason = fmt.Sprintf("a write is refused with error %d", number(err))
	case err != nil:
		return m, err
	default:
		m.Clean, m.Reason = true, "4 MiB can be written"
	}
	return m, nil
}

// insert writes rows of 4 MiB together, as long as the server takes them, and counts them.
func insert(ctx context.Context, db *sql.DB) (n uint64, err error) {
	const size, most = 7000, 4 << 20 / 7000
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // it goes back to where it came from
	for n < most && err == nil {
		_, err = conn.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s VALUES (REPEAT('x', %d))", probeTable, size))
		n++
	}
	return n, err
}

// Restore is part of injectors.Fault.
func (f *DiskFull) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	if err := f.disk.Restore(ctx, on, was); err != nil {
		return err
	}
	db, err := user(on)
	if err != nil {
		return err
	}
	defer db.Close()
	return dropTable(ctx, db)
}
