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
	"strings"
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
	r := &reader{ctx: ctx, db: db}
	status(metrics, r)
	if c.Primary != "" {
		lag(metrics, r)
	}

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
	account := fmt.Sprintf("SET SESSION sql_log_bin = 0;\nCREATE DATABASE IF NOT EXISTS %s;\nCREATE OR REPLACE USER '%s'@'%%' IDENTIFIED BY '%s';\n"+
		"GRANT ALL ON %s.* TO '%s'@'%%';\nGRANT PROCESS ON *.* TO '%s'@'%%';\n", Database, User, c.Secrets.Database, Database, User, User)
	account += replication(c)
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

// replicator is the account with which a replica reads what the primary has done.
const replicator = "replica"

// replication is what a server with a replica, or a replica, does at each start.
func replication(c target.Config) string {
	switch {
	case c.Replica != "":
		return fmt.Sprintf("CREATE OR REPLACE USER '%s'@'%%' IDENTIFIED BY '%s';\nGRANT REPLICATION SLAVE ON *.* TO '%s'@'%%';\n",
			replicator, c.Secrets.Database, replicator)
	case c.Primary != "":
		host, port, _ := strings.Cut(c.Peer(c.Primary, target.PortMariaDB), ":")
		return fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%s, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_CONNECT_RETRY=1, "+
			"MASTER_USE_GTID=slave_pos;\nSTART SLAVE;\nGRANT SLAVE MONITOR ON *.* TO '%s'@'%%';\n", host, port, replicator, c.Secrets.Database, User)
	}
	return ""
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
%[4]s`, c.Listen, target.PortMariaDB, c.Dir, replicationConf(c))
}

func replicationConf(c target.Config) string {
	switch {
	case c.Replica != "":
		return "server_id = 1\nlog_bin = binlog\nbinlog_format = ROW\nsync_binlog = 1\n"
	case c.Primary != "":
		return "server_id = 2\nread_only = ON\n# The position stands in init.sql, and in the data from the second start on.\nskip-slave-start\n"
	}
	return ""
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

// lag is for a replica alone: on any other server it would be a number that says nothing.
func lag(m *record.Metrics, r *reader) {
	m.GaugeFunc("livedrill_mariadb_replica_lag_seconds", "How far the replica says that it is behind its primary; -1: it does not know, or follows nobody.", nil, func() float64 {
		ctx, cancel := context.WithTimeout(r.ctx, 500*time.Millisecond)
		defer cancel()
		status, err := Following(ctx, r.db)
		behind, parsed := strconv.ParseFloat(status["Seconds_Behind_Master"], 64)
		if err != nil || parsed != nil {
			return -1
		}
		return behind
	})
}

// Following is what a server says of the primary that it follows (SHOW SLAVE STATUS); nothing: there is none.
func Following(ctx context.Context, db *sql.DB) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, "SHOW SLAVE STATUS")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	values, into := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, v := range values {
			out[names[i]] = v.String
		}
	}
	return out, rows.Err()
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
