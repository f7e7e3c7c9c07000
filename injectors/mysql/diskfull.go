package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/target"
)

// DiskFull fills the disk that the server has its data on: what needs more room there is refused by the server, and the rest goes on.
type DiskFull struct{ resource.DiskFull }

// full tells whether the server says of an error that there is no room: by a number of its own, or by the words of the kernel in another one's text.
func full(err error) bool {
	return slices.Contains([]uint16{errDiskFull, errTableFull}, number(err)) || number(err) != 0 && strings.Contains(err.Error(), "No space left on device")
}

// probeTable is a table of ours, for a moment.
const probeTable = "livedrill_disk_full"

// Check is part of injectors.Fault.
func (f *DiskFull) Check(ctx context.Context, on target.Component) error {
	if err := f.DiskFull.Check(ctx, on); err != nil {
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

// Effect makes a table as the platform does, and puts 4 MiB into it. It bites when the server refuses that for want of room, by its own
// error, and is clean when it takes it.
func (f *DiskFull) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	m := injectors.Measured{N: 1, Asked: map[string]float64{"refused_writes": 1}, Is: map[string]float64{"refused_writes": 0}}
	db, err := user(on)
	if err != nil {
		return m, err
	}
	defer db.Close()
	const blob = "REPEAT('x', 1048576)"
	for _, statement := range []string{"DROP TABLE IF EXISTS " + probeTable, "CREATE TABLE " + probeTable + " (a LONGBLOB, b LONGBLOB, c LONGBLOB, d LONGBLOB)",
		fmt.Sprintf("INSERT INTO %s VALUES (%s, %s, %s, %s)", probeTable, blob, blob, blob, blob)} {
		if _, err = db.ExecContext(ctx, statement); err != nil {
			break
		}
	}
	_, gone := db.ExecContext(ctx, "DROP TABLE IF EXISTS "+probeTable)
	switch {
	case full(err):
		m.Bites, m.Is["refused_writes"], m.Is["error"] = true, 1, float64(number(err))
		m.Reason = fmt.Sprintf("a write is refused with error %d", number(err))
	case err != nil:
		return m, err
	default:
		m.Clean, m.Reason = true, "4 MiB can be written"
	}
	return m, gone
}

// Restore is part of injectors.Fault.
func (f *DiskFull) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	if err := f.DiskFull.Restore(ctx, on, was); err != nil {
		return err
	}
	db, err := user(on)
	if err != nil {
		return err
	}
	defer db.Close()
	return patiently(ctx, func() error {
		_, err := db.ExecContext(ctx, "DROP TABLE IF EXISTS "+probeTable)
		return err
	})
}
