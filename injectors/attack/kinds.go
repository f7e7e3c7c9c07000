package attack

import (
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target/unit"
)

// requests is an attack of one sort on the gateway.
func requests(sort string, rate unit.Rate) func() injectors.Fault {
	return func() injectors.Fault {
		return &Requests{Repeated: clients.Repeated{Rate: rate, Clients: 50}, Sort: sort}
	}
}

// Absent asks for rooms that do not exist: nothing that is cached can answer that.
func Absent() injectors.Fault { return requests("absent", 100)() }

// Kinds lists the attacks.
var Kinds = []injectors.Kind{
	{Name: "attack.http-flood", Summary: "requests without end for a few pages", BackEnds: []string{"clients"},
		On: "gateway", Takes: "attackers", Default: requests("flood", 500)},
	{Name: "attack.scraping", Summary: "one client reads the whole API, page after page", BackEnds: []string{"clients"},
		On: "gateway", Takes: "attackers", Default: requests("scrape", 50)},
	{Name: "attack.password-guessing", Summary: "log-ins with guessed passwords", BackEnds: []string{"clients"},
		On: "gateway", Takes: "attackers", Default: requests("login", 50)},
	{Name: "attack.token-forgery", Summary: "gifts with tokens that nobody has signed", BackEnds: []string{"clients"},
		On: "gateway", Takes: "attackers", Default: requests("forge", 50)},
	{Name: "attack.sql-injection", Summary: "log-ins with pieces of SQL for a name", BackEnds: []string{"clients"},
		On: "gateway", Takes: "attackers", Default: requests("inject", 50)},
	{Name: "attack.oversize", Summary: "requests with fields, bodies, headers or paths far too large", BackEnds: []string{"clients"},
		On: "gateway", Takes: "attackers", Default: requests("oversize", 50)},
	{Name: "attack.slowloris", Summary: "requests that never end hold the server's places", BackEnds: []string{"clients"},
		Takes: "attackers", Default: func() injectors.Fault { return &Slowloris{Connections: 300, Every: unit.Duration(time.Second)} }},
	{Name: "attack.syn-flood", Summary: "connections that are never finished fill the kernel's queue", BackEnds: []string{"clients"},
		Takes: "attackers", Default: func() injectors.Fault { return &SYN{Repeated: clients.Repeated{Rate: 2000, Clients: 20}, Port: "http"} }},
	{Name: "attack.key-guessing", Summary: "somebody guesses stream keys", BackEnds: []string{"clients"},
		On: "ingest", Takes: "attackers", Default: func() injectors.Fault { return &Keys{Repeated: clients.Repeated{Rate: 30, Clients: 20}} }},
}
