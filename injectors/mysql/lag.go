package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/mariadb"
	"github.com/livedrill/livedrill/target/unit"
)

// Lag lets a replica follow late, as behind a primary that writes more than it can: whoever reads from it sees what was.
type Lag struct {
	By unit.Duration `json:"by" help:"how far behind, in whole seconds"`
}

const (
	hearts    = 3               // of one look
	longest   = 8 * time.Second // that a look waits for one
	heartGap  = 100 * time.Millisecond
	lagSpread = 1500 * time.Millisecond // events carry whole seconds, and so does the delay
)

// Validate finds settings that cannot work.
func (f *Lag) Validate() error {
	if d := time.Duration(f.By); d < 2*time.Second || d > time.Hour || d%time.Second != 0 {
		return fmt.Errorf("by: %s is not between 2s and 1h, in whole seconds", f.By)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Lag) BackEnd() string { return "MASTER_DELAY" }

// Check is part of injectors.Fault.
func (*Lag) Check(ctx context.Context, on target.Component) error {
	now, err := following(ctx, on)
	if err == nil && (now["Slave_IO_Running"] != "Yes" || now["Slave_SQL_Running"] != "Yes") {
		err = fmt.Errorf("it does not follow its primary now: %s%s", now["Last_IO_Error"], now["Last_SQL_Error"])
	}
	return err
}

// following is what the replica says of its primary.
func following(ctx context.Context, on target.Component) (map[string]string, error) {
	if h := on.Handles.MySQL; h == nil || h.Primary == nil {
		return nil, errors.New("it is no replica (target: {replica: true} has one, and a fault on mariadb-replica)")
	}
	db, err := admin(on)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	now, err := mariadb.Following(ctx, db)
	if err == nil && len(now) == 0 {
		err = errors.New("it follows nobody")
	}
	return now, err
}

// Save is part of injectors.Fault.
func (*Lag) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	now, err := following(ctx, on)
	if err != nil {
		return nil, err
	}
	seconds, err := strconv.ParseUint(now["SQL_Delay"], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("SQL_Delay: %w", err)
	}
	return injectors.Keep(seconds)
}

// Inject is part of injectors.Fault.
func (f *Lag) Inject(ctx context.Context, on target.Component) error {
	was, err := f.Save(ctx, on)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	if err = follow(ctx, on, uint64(time.Duration(f.By)/time.Second)); err != nil {
		err = errors.Join(err, f.Restore(context.WithoutCancel(ctx), on, was))
	}
	return err
}

// follow lets the replica follow with a delay of so many seconds. It has its own time once it has begun: a replica that was stopped must start again.
func follow(ctx context.Context, on target.Component, seconds uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	db, err := admin(on)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range []string{"STOP SLAVE", fmt.Sprintf("CHANGE MASTER TO MASTER_DELAY = %d", seconds), "START SLAVE"} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	// Whether it reaches its primary is the primary's affair, too: that is waited for, and no error.
	_ = target.WaitUntil(ctx, 2*time.Second, func() bool {
		now, err := mariadb.Following(ctx, db)
		return err == nil && now["Slave_IO_Running"] == "Yes"
	})
	return nil
}

// Effect lets the primary write a few things that change no data, and waits until the replica has them.
func (f *Lag) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	primary, err := login(target.Component{Handles: target.Handles{MySQL: on.Handles.MySQL.Primary}}, administrator)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer primary.Close()
	replica, err := admin(on)
	if err != nil {
		return injectors.Measured{}, err
	}
	defer replica.Close()
	type heart struct {
		position string
		at       time.Time
	}
	var all []heart
	for range hearts {
		h := heart{at: time.Now()}
		if h.position, err = beat(ctx, primary); err != nil {
			return injectors.Measured{}, fmt.Errorf("primary: %w", err)
		}
		all = append(all, h)
		if !target.Wait(ctx, heartGap) {
			return injectors.Measured{}, ctx.Err()
		}
	}
	var late []time.Duration
	lost := 0
	end := all[0].at.Add(longest)
	for _, h := range all {
		var timedOut int
		if err := replica.QueryRowContext(ctx, "SELECT MASTER_GTID_WAIT(?, ?)", h.position, max(time.Until(end), time.Millisecond).Seconds()).Scan(&timedOut); err != nil {
			return injectors.Measured{}, err
		}
		if late = append(late, time.Since(h.at)); timedOut != 0 {
			lost++
		}
	}
	slices.Sort(late)
	by, is := time.Duration(f.By), late[len(late)/2]
	m := injectors.Measured{N: hearts, Asked: map[string]float64{"lag_seconds": by.Seconds()}, Is: map[string]float64{"lag_seconds": is.Seconds(), "not_arrived": float64(lost)},
		Reason: fmt.Sprintf("what the primary writes is on the replica after %s", is.Round(time.Millisecond))}
	if lost == 0 {
		m.Bites, m.Clean = (is-by).Abs() <= lagSpread, is < time.Second
	} else { // it cannot be waited for longer, and is at least so late; if it is late, and not dead
		now, err := mariadb.Following(ctx, replica)
		if err != nil {
			return injectors.Measured{}, err
		}
		m.Bites = by > longest-lagSpread && now["Slave_IO_Running"] == "Yes" && now["Slave_SQL_Running"] == "Yes" &&
			now["SQL_Delay"] == strconv.Itoa(int(by/time.Second))
		m.Reason = fmt.Sprintf("what the primary writes is not on the replica after %s", is.Round(time.Millisecond))
	}
	return m, nil
}

// beat writes something to the primary's log that changes no data, and gives its position.
func beat(ctx context.Context, primary *sql.DB) (position string, err error) {
	conn, err := primary.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()                             // it goes back to the pool
	if _, err := conn.ExecContext(ctx, "FLUSH HOSTS"); err != nil { // addresses that were refused may try again; servers log it for their replicas
		return "", err
	}
	err = conn.QueryRowContext(ctx, "SELECT @@last_gtid").Scan(&position)
	if err == nil && position == "" {
		err = errors.New("it writes no log that a replica could read")
	}
	return position, err
}

// Restore is part of injectors.Fault.
func (*Lag) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	var before uint64
	if err := was.Read(&before); err != nil {
		return err
	}
	if err := follow(ctx, on, before); err != nil {
		return err
	}
	now, err := following(ctx, on)
	if err == nil && (now["SQL_Delay"] != strconv.FormatUint(before, 10) || now["Slave_SQL_Running"] != "Yes") {
		err = fmt.Errorf("it follows with a delay of %s s (was %d), running: %s", now["SQL_Delay"], before, now["Slave_SQL_Running"])
	}
	return err
}
