package mysql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/mariadb"
	"github.com/livedrill/livedrill/target/unit"
)

func TestMain(m *testing.M) {
	hoststest.Serve(map[string]func(context.Context, target.Config) error{"mariadb": mariadb.Serve})
	injectortest.Victim(faults)
	hoststest.Main(m)
}

var coins = rows{Table: "coins", Key: "id"}

var faults = injectortest.Cases(Kinds, map[string]func() injectors.Fault{
	"lock-wait":       func() injectors.Fault { return &LockWait{rows: coins, Rows: 10} },
	"deadlock":        func() injectors.Fault { return &Deadlock{rows: coins} },
	"slow":            func() injectors.Fault { return &Slow{Table: coins.Table, By: unit.Duration(200 * time.Millisecond)} },
	"bad-delete":      func() injectors.Fault { return &BadDelete{rows: coins, Rows: 10} },
	"replication-lag": late,
})

// server runs a real MariaDB with one table of twenty rows.
func server(t *testing.T) target.Component {
	t.Helper()
	on, _ := mortal(t)
	return on
}

// mortal is one that can be ended before the test is.
func mortal(t *testing.T) (on target.Component, end func()) {
	t.Helper()
	hoststest.Range(t)
	if _, err := exec.LookPath("mariadbd"); err != nil {
		t.Skip("mariadbd is not on this machine")
	}
	dir, err := os.MkdirTemp("", "ld") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := hosts.MakeDisk(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	c := target.Config{Name: "mariadb", Listen: hosts.BridgeAddr, Dir: dir, Socket: filepath.Join(dir, "s"), Secrets: target.Secrets{Database: "secret"}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mariadb.Serve(ctx, c) }()
	end = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	on = target.Component{Name: "mariadb", Socket: c.Socket, Handles: target.Handles{Disk: dir, MySQL: &target.MySQL{
		Addr: net.JoinHostPort(hosts.BridgeAddr, fmt.Sprint(target.PortMariaDB)), User: mariadb.User, Password: "secret", Database: mariadb.Database,
		Admin: mariadb.Socket(dir), AdminUser: "root"}}}
	for end := time.Now().Add(30 * time.Second); on.Healthy(t.Context()) != nil; {
		if time.Now().After(end) || !target.Wait(t.Context(), 50*time.Millisecond) {
			t.Fatal("mariadbd does not answer")
		}
	}
	db, err := user(on)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{"CREATE TABLE coins (id INT PRIMARY KEY, n BIGINT, raw BINARY(4))",
		"INSERT INTO coins SELECT seq, IF(seq=3, NULL, seq*seq), UNHEX('00FF27C3') FROM seq_1_to_20"} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return on, end
}

// TestDeadServer: a server that is down already is refused by name, and one that ends in the middle is never taken for restored.
func TestDeadServer(t *testing.T) {
	for _, name := range []string{"read-only", "lock-wait", "bad-delete"} { // a setting, connections, rows
		kind := faults[name]
		t.Run(name, func(t *testing.T) {
			on, end := mortal(t)
			f := kind()
			was, err := f.Save(t.Context(), on)
			if err == nil {
				err = f.Inject(t.Context(), on)
			}
			if err != nil {
				t.Fatal(err)
			}
			end()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			restored := f.Restore(ctx, on, was)
			m, seen := f.Effect(ctx, on)
			if restored == nil && seen == nil && m.Clean {
				t.Errorf("it is taken for restored: %+v", m)
			}
			err = kind().Check(t.Context(), on)
			if h := on.Handles.MySQL; err == nil || !strings.Contains(err.Error(), h.Admin) && !strings.Contains(err.Error(), h.Addr) {
				t.Errorf("a dead server is refused with %v", err)
			}
		})
	}
}

func TestConformance(t *testing.T) {
	on := server(t)
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		if name == "replication-lag" { // it needs a replica: TestLag
			continue
		}
		t.Run(name, func(t *testing.T) {
			injectortest.Run(t, injectortest.Case{Kind: name, New: faults[name], On: on, State: func() (any, error) { return state(t.Context(), on) }})
		})
	}
}

// state is all that these faults may change: settings, rows, and transactions that are open, once the server has noticed that a
// victim's connections are gone.
func state(ctx context.Context, on target.Component) (any, error) {
	db, err := admin(on)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	out := map[string]string{"deadlocks going on": fmt.Sprint(injectors.Begun(new(Deadlock).name(on))),
		"slow": fmt.Sprint(injectors.Begun(new(Slow).name(on)))}
	for _, g := range []global{readOnly, maxConnections} {
		var v int64
		err := patiently(ctx, func() (err error) { v, err = g.read(ctx, db); return err })
		if err != nil {
			return nil, err
		}
		out[string(g)] = fmt.Sprint(v)
	}
	var sum string
	const tables = "SELECT GROUP_CONCAT(table_name ORDER BY table_name) FROM information_schema.tables WHERE table_schema = ?"
	if err := patiently(ctx, func() error { return db.QueryRowContext(ctx, tables, mariadb.Database).Scan(&sum) }); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(on.Handles.Disk)
	if err != nil {
		return nil, err
	}
	out["tables"], out["ballast"] = sum, fmt.Sprint(slices.ContainsFunc(files, func(f os.DirEntry) bool { return strings.Contains(f.Name(), "ballast") }))
	const all = "SELECT GROUP_CONCAT(CONCAT_WS('/', id, COALESCE(n, 'null'), HEX(raw)) ORDER BY id) FROM coins"
	if err := patiently(ctx, func() error { return db.QueryRowContext(ctx, all).Scan(&sum) }); err != nil {
		return nil, err
	}
	out["rows"] = sum
	locks := &LockWait{rows: coins, Rows: 10}
	for end := time.Now().Add(500 * time.Millisecond); ; {
		m, err := locks.Effect(ctx, on)
		if err != nil && number(err) != errTooManyConnections {
			return nil, err
		}
		if out["locks"] = fmt.Sprint(m.Bites); !m.Bites || injectors.Begun(locks.name(on)) || time.Now().After(end) {
			break
		}
	}
	return out, nil
}

// TestRowsPutBackAreRead: a row that comes back with another value than before is no restoration.
func TestRowsPutBackAreRead(t *testing.T) {
	on := server(t)
	db, err := admin(on)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	f := &BadDelete{rows: coins, Rows: 10}
	restore := injectortest.Inject(t, f, on)
	was, err := injectors.Keep(f.was)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TRIGGER wrong BEFORE INSERT ON coins FOR EACH ROW SET NEW.n = 7"); err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(t.Context(), on, was); err == nil || !strings.Contains(err.Error(), "other values") {
		t.Errorf("rows come back with another value, and that is told as %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "DROP TRIGGER wrong"); err != nil {
		t.Fatal(err)
	}
	restore()
	injectortest.Gone(t.Context(), t, f, on)
}

func TestNamesStandInStatementsAsTheyAre(t *testing.T) {
	for _, name := range []string{"", "coins; DROP TABLE coins", "a b", "`coins`", "1coins", strings.Repeat("a", 65)} {
		if err := (&Deadlock{rows: rows{Table: name, Key: "id"}}).Validate(); err == nil {
			t.Errorf("%q is taken for the name of a table", name)
		}
	}
}

func TestWithoutRights(t *testing.T) {
	injectortest.AsUser(t, "^TestConformance$/./^(is_proven|another)")
	injectortest.AsUser(t, "^TestLag$/^is_proven")
}
