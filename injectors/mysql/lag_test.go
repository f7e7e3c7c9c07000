package mysql

import (
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/injectortest"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/hosts/hoststest"
	"github.com/livedrill/livedrill/target/mariadb"
	"github.com/livedrill/livedrill/target/unit"
)

func late() injectors.Fault { return &Lag{By: unit.Duration(2 * time.Second)} }

// pair is a real primary, and a replica that follows it.
func pair(t *testing.T) (primary, replica target.Component) {
	t.Helper()
	r := hoststest.Range(t)
	if _, err := exec.LookPath("mariadbd"); err != nil {
		t.Skip("mariadbd is not on this machine")
	}
	peers, ports := map[string]string{}, map[string]int{"mysql": target.PortMariaDB}
	handle := func(on *target.Component, c target.Config) {
		on.Handles.MySQL = &target.MySQL{Addr: net.JoinHostPort(on.Addr, strconv.Itoa(target.PortMariaDB)), User: mariadb.User, Password: "secret",
			Database: mariadb.Database, Admin: mariadb.Socket(c.Dir), AdminUser: "root"}
	}
	secrets := target.Secrets{Database: "secret"}
	primary, c := hoststest.Component(t, r, target.Config{Name: "primary", Kind: "mariadb", Peers: peers, Secrets: secrets, Replica: "replica"}, ports)
	handle(&primary, c)
	// The replica asks for an address, as there is no name server here.
	replica, c = hoststest.Component(t, r, target.Config{Name: "replica", Kind: "mariadb", Peers: map[string]string{"primary:3306": primary.Handles.MySQL.Addr},
		Secrets: secrets, Primary: "primary"}, ports)
	handle(&replica, c)
	replica.Handles.MySQL.Primary = primary.Handles.MySQL
	if err := target.WaitUntil(t.Context(), 10*time.Second, func() bool {
		now, err := following(t.Context(), replica)
		return err == nil && now["Slave_IO_Running"] == "Yes"
	}); err != nil {
		t.Fatal(err)
	}
	return primary, replica
}

// TestLag runs the fault through the promises, and reads on the replica what was written on the primary.
func TestLag(t *testing.T) {
	primary, replica := pair(t)
	injectortest.Run(t, injectortest.Case{Kind: "replication-lag", New: late, On: replica, Wrong: primary, State: func() (any, error) {
		now, err := following(t.Context(), replica)
		return [3]string{now["SQL_Delay"], now["Slave_IO_Running"], now["Slave_SQL_Running"]}, err
	}})

	for name, fault := range faults { // faults of those who write are not for a replica
		if err := fault().Check(t.Context(), replica); (err == nil) != (name == "connections" || name == "replication-lag") {
			t.Errorf("%s on a replica: %v", name, err)
		}
	}
	db, err := user(primary)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE coins (n INT)"); err != nil {
		t.Fatal(err)
	}
	other, err := user(replica)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var n int
	if err := target.WaitUntil(t.Context(), 5*time.Second, func() bool {
		return other.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM coins").Scan(&n) == nil
	}); err != nil {
		t.Error(err)
	}
	if _, err := other.ExecContext(t.Context(), "INSERT INTO coins VALUES (1)"); number(err) != errReadOnly {
		t.Errorf("a write on the replica: %v", err)
	}
}

// TestLongLag does not claim to have seen what it could not wait for.
func TestLongLag(t *testing.T) {
	_, replica := pair(t)
	f := &Lag{By: unit.Duration(time.Minute)}
	was, err := f.Save(t.Context(), replica)
	if err == nil {
		err = f.Inject(t.Context(), replica)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.Effect(t.Context(), replica)
	if err != nil || !m.Bites || m.Clean || m.Is["not_arrived"] != hearts || m.Is["lag_seconds"] < 7 {
		t.Errorf("%+v, %v", m, err)
	}
	db, err := admin(replica)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "STOP SLAVE"); err != nil {
		t.Fatal(err)
	}
	if m, err = f.Effect(t.Context(), replica); err != nil || m.Bites || m.Clean {
		t.Errorf("a replica that follows nobody is taken for one that is late: %+v, %v", m, err)
	}
	if err := f.Restore(t.Context(), replica, was); err != nil {
		t.Fatal(err)
	}
	if m, err = f.Effect(t.Context(), replica); err != nil || !m.Clean {
		t.Errorf("%+v, %v", m, err)
	}
}
