// Package mariadb runs the platform's real MariaDB server: makes its data, starts it from a configuration file that users
// can read, watches it, starts it again when it ends, and offers its status as metrics.
package mariadb

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/target"
)

// User and Database are what the gateway logs in with and to.
const (
	User     = "livedrill"
	Database = "livedrill"
)

// Serve runs the server until ctx ends.
func Serve(ctx context.Context, c target.Config) error {
	file := filepath.Join(c.Dir, "my.cnf")
	if err := prepare(ctx, c, file); err != nil {
		return err
	}
	metrics := record.NewMetrics()
	restarts := metrics.Counter("livedrill_component_restarts_total", "Times the server was started again.", nil)
	db, err := sql.Open("mysql", DSN(c, c.Bind(target.PortMariaDB), time.Second))
	if err != nil {
		return fmt.Errorf("mariadb: %w", err)
	}
	defer db.Close()
	db.SetMaxOpenConns(2)
	status(metrics, &reader{ctx: ctx, db: db})

	server := target.Program{Path: "mariadbd", Args: []string{"--defaults-file=" + file}, Output: os.Stderr, Grace: 3 * time.Second}
	return target.Together(ctx,
		func(ctx context.Context) error {
			return server.Keep(ctx, func(err error) {
				slog.Error("mariadbd ended", "err", err)
				restarts.Inc()
			})
		},
		func(ctx context.Context) error {
			return metrics.Serve(ctx, c.Socket, http.NewServeMux(), db.PingContext)
		})
}

// Socket is where the administrator reaches the server that has its files in dir.
func Socket(dir string) string { return filepath.Join(dir, "mariadb.sock") }

// DSN is the gateway's address of the server; timeout bounds connecting, and each read and write where it is not zero.
func DSN(c target.Config, addr string, timeout time.Duration) string {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName = User, c.Secrets.Database, "tcp", addr, Database
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = timeout, timeout, timeout
	cfg.InterpolateParams = true
	cfg.Logger = &mysql.NopLogger{}
	return cfg.FormatDSN()
}

// prepare writes the configuration and makes an empty data directory with the platform's account in it.
func prepare(ctx context.Context, c target.Config, file string) error {
	if err := os.WriteFile(file, []byte(Conf(c)), 0o600); err != nil {
		return fmt.Errorf("mariadb: %w", err)
	}
	data := filepath.Join(c.Dir, "data")
	if _, err := os.Stat(filepath.Join(data, "mysql")); err == nil {
		return nil // a restart of the component: the data stays
	}
	account := fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %s;\nCREATE OR REPLACE USER '%s'@'%%' IDENTIFIED BY '%s';\n"+
		"GRANT ALL ON %s.* TO '%s'@'%%';\nGRANT PROCESS ON *.* TO '%s'@'%%';\n", Database, User, c.Secrets.Database, Database, User, User)
	if err := os.WriteFile(filepath.Join(c.Dir, "init.sql"), []byte(account), 0o600); err != nil {
		return fmt.Errorf("mariadb: %w", err)
	}
	install := exec.CommandContext(ctx, "mariadb-install-db", "--defaults-file="+file, "--user=root", "--skip-test-db",
		"--skip-name-resolve", "--auth-root-authentication-method=normal")
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb: make data: %w\n%s", err, out)
	}
	return nil
}

// Conf is the server's configuration. Both profiles run MariaDB as it comes, sized for one machine.
func Conf(c target.Config) string {
	return fmt.Sprintf(`# MariaDB of the bundled platform (profile-independent).
[mariadbd]
user = root
bind-address = %s
port = %d
datadir = %[3]s/data
socket = %[3]s/mariadb.sock
pid-file = %[3]s/mariadb.pid
tmpdir = %[3]s
init-file = %[3]s/init.sql
skip-name-resolve
innodb_buffer_pool_size = 64M
innodb_log_file_size = 16M
performance_schema = OFF
# Every deadlock goes to the error log: the evidence of a drill.
innodb_print_all_deadlocks = ON
# Gifts are money: each commit is on disk before it is answered.
innodb_flush_log_at_trx_commit = 1
`, c.Listen, target.PortMariaDB, c.Dir)
}

// reader reads the server's status at most once per scrape.
type reader struct {
	ctx    context.Context // of the process: metrics are read without one of their own
	db     *sql.DB
	mu     sync.Mutex
	read   time.Time
	fields map[string]float64
}

func status(m *record.Metrics, r *reader) {
	m.GaugeFunc("livedrill_mariadb_connections", "Connections from clients.", nil,
		func() float64 { return r.get("Threads_connected") })
	m.CounterFunc("livedrill_mariadb_queries_total", "Statements done.", nil,
		func() float64 { return r.get("Questions") })
	m.CounterFunc("livedrill_mariadb_commits_total", "Transactions committed.", nil,
		func() float64 { return r.get("Com_commit") })
	m.CounterFunc("livedrill_mariadb_deadlocks_total", "Deadlocks found by InnoDB.", nil,
		func() float64 { return r.get("Innodb_deadlocks") })
}

func (r *reader) get(field string) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.read) > 100*time.Millisecond {
		r.read = time.Now()
		fields, err := r.query()
		if err != nil {
			slog.Debug("mariadb status", "err", err)
		}
		r.fields = fields
	}
	return r.fields[field]
}

func (r *reader) query() (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(r.ctx, 500*time.Millisecond)
	defer cancel()
	rows, err := r.db.QueryContext(ctx, "SHOW GLOBAL STATUS WHERE Variable_name IN "+
		"('Threads_connected','Questions','Com_commit','Innodb_deadlocks')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]float64{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = v
		}
	}
	return out, rows.Err()
}
