// Package mysql breaks MariaDB and MySQL servers: full, locked, read only, without rows that were there.
package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// The server's errors that faults are known by.
const (
	errDiskFull           = 1021
	errTooManyConnections = 1040
	errTableFull          = 1114
	errLockWaitTimeout    = 1205
	errDeadlock           = 1213
	errReadOnly           = 1290
)

// login is one of the accounts that a handle has.
func login(on target.Component, account func(*target.MySQL) (addr, user, password string)) (*sql.DB, error) {
	h := on.Handles.MySQL
	if h == nil {
		return nil, errors.New("it is no MySQL")
	}
	cfg := mysql.NewConfig()
	cfg.Addr, cfg.User, cfg.Passwd = account(h)
	cfg.Net, cfg.DBName = "tcp", h.Database
	if strings.HasPrefix(cfg.Addr, "/") {
		cfg.Net = "unix"
	}
	cfg.Timeout, cfg.InterpolateParams, cfg.Logger = 2*time.Second, true, &mysql.NopLogger{}
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxIdleConns(0) // nothing of ours stays: connections are what some faults count
	return db, nil
}

// admin may change the server's settings.
func admin(on target.Component) (*sql.DB, error) {
	return login(on, administrator)
}

func administrator(h *target.MySQL) (addr, user, password string) {
	return h.Admin, h.AdminUser, h.AdminPassword
}

// user is the platform's own account: what it suffers is what is measured.
func user(on target.Component) (*sql.DB, error) {
	return login(on, func(h *target.MySQL) (string, string, string) { return h.Addr, h.User, h.Password })
}

// check is what every fault needs: a server that answers to its administrator.
func check(ctx context.Context, on target.Component) error {
	db, err := admin(on)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}

// notReplica refuses a replica: faults of those who write would be felt by nobody there.
func notReplica(on target.Component) error {
	if on.Handles.MySQL != nil && on.Handles.MySQL.Primary != nil {
		return errors.New("it is a replica, and nobody writes there: put it on its primary")
	}
	return nil
}

// number is the server's own number of an error; 0 is none of the server's.
func number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// status reads one of the server's counters.
func status(ctx context.Context, db *sql.DB, name string) (v float64, err error) {
	var ignored string
	err = db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE ?", name).Scan(&ignored, &v)
	return v, err
}

// global is a setting of the server that a fault changes, saves and puts back.
type global string

func (g global) read(ctx context.Context, db *sql.DB) (v int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT @@GLOBAL."+string(g)).Scan(&v)
	return v, err
}

// write has its own time once it has begun: a statement that is given up may be carried out all the same.
func (g global) write(ctx context.Context, db *sql.DB, v int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, err := db.ExecContext(ctx, fmt.Sprintf("SET GLOBAL %s = %d", g, v))
	return err
}

func (g global) save(ctx context.Context, on target.Component) (injectors.Original, error) {
	db, err := admin(on)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	v, err := g.read(ctx, db)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(v)
}

// restore puts the setting back and reads it again.
func (g global) restore(ctx context.Context, on target.Component, was injectors.Original) error {
	var before int64
	if err := was.Read(&before); err != nil {
		return err
	}
	db, err := admin(on)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := patiently(ctx, func() error { return g.write(ctx, db, before) }); err != nil {
		return err
	}
	now, err := g.read(ctx, db)
	if err == nil && now != before {
		err = fmt.Errorf("%s is %d, was %d", g, now, before)
	}
	return err
}

// patiently does something again that fails for one connection too many: the server needs a moment to see that one has gone.
func patiently(ctx context.Context, do func() error) error {
	for end := time.Now().Add(2 * time.Second); ; {
		err := do()
		if number(err) != errTooManyConnections || time.Now().After(end) || !target.Wait(ctx, 10*time.Millisecond) {
			return err
		}
	}
}

var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)

// rows names the rows that a fault works on.
type rows struct {
	Table string `json:"table" help:"of the platform's database"`
	Key   string `json:"key" help:"its primary key"`
}

// Validate finds names that are none: they stand in statements as they are.
func (r rows) Validate() error {
	var errs []error
	for what, name := range map[string]string{"table": r.Table, "key": r.Key} {
		if !plainName.MatchString(name) {
			errs = append(errs, fmt.Errorf("%s: %q is no plain name", what, name))
		}
	}
	return errors.Join(errs...)
}

// querier is a database, or a transaction in it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// first gives the first keys of the table.
func (r rows) first(ctx context.Context, db querier, n int) (out []string, err error) {
	list, err := db.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s ORDER BY %s LIMIT %d", r.Key, r.Table, r.Key, n))
	if err != nil {
		return nil, err
	}
	defer list.Close()
	for list.Next() {
		var key string
		if err := list.Scan(&key); err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	return out, list.Err()
}

// open is a fault that changes no setting: what it does ends with its connections.
func open() (injectors.Original, error) { return injectors.Keep(struct{}{}) }
