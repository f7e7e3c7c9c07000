package target

import (
	"fmt"
	"maps"
	"slices"
)

// The defences of the bundled platform. Each is one switch, read where it acts.
const (
	EdgeDispatch    = "edge-dispatch"
	ShedRenditions  = "shed-renditions"
	RedisFallback   = "redis-fallback"
	Deadlines       = "dependency-deadlines"
	EdgeCacheLock   = "edge-cache-lock"
	EdgeServeStale  = "edge-serve-stale"
	EdgePeerOrigin  = "edge-peer-failover"
	BoundedRequests = "bounded-requests"
	BoundedQueue    = "bounded-queue"
	FreshReads      = "fresh-reads"
)

// Defence is one thing that a hardened platform does and a weak one does not.
type Defence struct {
	Name    string `json:"name"`
	Summary string `json:"summary"`
	Where   string `json:"where"` // the kind of component in which it acts
}

// AllDefences lists every defence.
var AllDefences = []Defence{
	{EdgeDispatch, "Dispatch measures every edge and sends viewers away from one that is slow or dead, or that shows a certificate nobody trusts.", "gateway"},
	{ShedRenditions, "An encoder that falls behind real time gives up its renditions and passes the source on.", "transcode"},
	{RedisFallback, "When Redis refuses writes, log-ins, rooms, gifts and chat go on without it, from memory and MariaDB.", "gateway, danmaku"},
	{Deadlines, "Calls to Redis and MariaDB have a deadline and few retries.", "gateway, danmaku"},
	{BoundedRequests, "A bounded number of requests at once; the others are told to come back (503) instead of waiting.", "gateway"},
	{BoundedQueue, "A queue has room for so many; what finds it full waits apart, until nobody else does.", "gateway"},
	{FreshReads, "Who has just paid is not read from a replica that does not know of it yet.", "gateway"},
	{EdgeCacheLock, "One request fills the cache for all that ask for the same segment.", "edge"},
	{EdgeServeStale, "An edge goes on with what it has while the origin does not answer.", "edge"},
	{EdgePeerOrigin, "An edge that cannot reach the origin asks the other edge.", "edge"},
}

// Defences tells which are on.
type Defences map[string]bool

// Profiles are the two sets of defences that the bundled platform ships with.
var Profiles = []string{"weak", "hardened"}

// ProfileDefences gives the defences of a profile, changed by the named switches.
func ProfileDefences(profile string, changes map[string]bool) (Defences, error) {
	if !slices.Contains(Profiles, profile) {
		return nil, fmt.Errorf("no profile %q: there are %v", profile, Profiles)
	}
	on := Defences{}
	for _, d := range AllDefences {
		on[d.Name] = profile == "hardened"
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if _, known := on[name]; !known {
			return nil, fmt.Errorf("no defence %q: livedrill list defences shows all", name)
		}
		on[name] = changes[name]
	}
	return on, nil
}
