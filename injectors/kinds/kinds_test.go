package kinds

import "testing"

// TestPairs: what cannot be there together on one component is refused, and nothing else.
func TestPairs(t *testing.T) {
	for _, c := range []struct {
		one, other string
		fight      bool
	}{
		{"network.loss", "network.partition", true},
		{"network.rate", "network.rate-trace", true},
		{"network.delay", "network.reorder", true},
		{"network.partition", "attack.http-flood", true}, // nothing of it would arrive
		{"network.flap", "danmaku.storm", true},
		{"network.blackhole", "process.kill", true},
		{"process.pause", "clock.skew", true}, // who stands still cannot be told that it is over
		{"process.kill", "media.stall", true},
		{"process.restart-loop", "tls.expiry", true},
		{"resource.oom", "resource.memory", true}, // the neighbour is in the group that is too small
		{"resource.disk-full", "mysql.disk-full", true},
		{"redis.oom", "redis.flush", true},
		{"mysql.lock-wait", "mysql.deadlock", true},
		{"gpu.throttle", "gpu.lost", true},
		{"attack.slowloris", "attack.syn-flood", true},
		{"network.loss", "network.delay", false},
		{"network.loss", "network.rate", false},
		{"network.delay", "attack.http-flood", false},
		{"resource.cpu", "attack.slowloris", false},
		{"mysql.read-only", "mysql.connections", false},
		{"redis.oom", "network.loss", false},
		{"media.skew", "network.loss", false},
	} {
		one, ok := Find(c.one)
		other, found := Find(c.other)
		if !ok || !found {
			t.Fatalf("%s or %s is no kind", c.one, c.other)
		}
		if thing := one.Fights(other); (thing != "") != c.fight || (other.Fights(one) != "") != c.fight {
			t.Errorf("%s and %s both need %q", c.one, c.other, thing)
		}
		if one.Fights(one) == "" {
			t.Errorf("%s could be put on one component twice", c.one)
		}
	}
}
