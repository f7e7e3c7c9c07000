package stats

// ErlangB is the share of arrivals that c servers without a queue turn away when they are offered a load of a (arrivals a second times
// seconds of service), for arrivals that come independently and service of any distribution (M/G/c/c).
func ErlangB(c int, a float64) float64 {
	b := 1.0
	for i := 1; i <= c; i++ {
		b = a * b / (float64(i) + a*b)
	}
	return b
}

// QueueLength is how many wait on average before c servers that are offered a load of a, for independent arrivals and exponential
// service (M/M/c, by Erlang's formula C). From a = c on the queue grows without end, and ok is false.
func QueueLength(c int, a float64) (waiting float64, ok bool) {
	if a >= float64(c) {
		return 0, false
	}
	b := ErlangB(c, a)
	waits := float64(c) * b / (float64(c) - a*(1-b)) // the share of arrivals that wait
	return waits * a / (float64(c) - a), true
}
