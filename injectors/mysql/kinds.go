package mysql

import (
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target/unit"
)

// accounts are the rows of the bundled platform that money is in.
var accounts = rows{Table: "accounts", Key: "user_id"}

// Kinds lists the faults of MariaDB and MySQL servers.
var Kinds = []injectors.Kind{
	{Name: "mysql.connections", Summary: "the database lets nobody new in (error 1040)", BackEnds: []string{"max_connections"},
		On: "mariadb, mariadb-replica", Takes: "connections", Default: func() injectors.Fault { return &Connections{} }},
	{Name: "mysql.read-only", Summary: "the database takes no write (error 1290)", BackEnds: []string{"read_only"},
		On: "mariadb", Takes: "writes, rows", Default: func() injectors.Fault { return &ReadOnly{} }},
	{Name: "mysql.lock-wait", Summary: "a transaction that does not end holds locks (error 1205)", BackEnds: []string{"FOR UPDATE"},
		On: "mariadb", Takes: "rows", Default: func() injectors.Fault { return &LockWait{rows: accounts, Rows: 200} }},
	{Name: "mysql.deadlock", Summary: "transactions take rows in opposite order (error 1213)", BackEnds: []string{"FOR UPDATE"},
		On: "mariadb", Takes: "rows", Default: func() injectors.Fault { return &Deadlock{rows: accounts} }},
	{Name: "mysql.slow", Summary: "every statement on a table waits, as behind others that take long", BackEnds: []string{"LOCK TABLES"},
		On: "mariadb", Takes: "rows, connections", Default: func() injectors.Fault {
			return &Slow{Table: accounts.Table, By: unit.Duration(300 * time.Millisecond)}
		}},
	{Name: "mysql.replication-lag", Summary: "a replica follows its primary late", BackEnds: []string{"MASTER_DELAY"},
		On: "mariadb-replica", Takes: "replication", Default: func() injectors.Fault { return &Lag{By: unit.Duration(3 * time.Second)} }},
	{Name: "mysql.disk-full", Summary: "the server's disk is full, and it refuses what needs more room (error 1114 or 1021)", BackEnds: []string{"fallocate"},
		On: "mariadb", Takes: "disk, writes", Default: func() injectors.Fault { return &DiskFull{} }},
	{Name: "mysql.bad-delete", Summary: "somebody deletes rows that are needed", BackEnds: []string{"DELETE"},
		On: "mariadb", Takes: "rows", Default: func() injectors.Fault { return &BadDelete{rows: accounts, Rows: 50} }},
}
