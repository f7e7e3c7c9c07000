package gate

// CompareOnly is Compare without bootstrap bounds, on which no verdict stands, for tests of hundreds of comparisons.
func CompareOnly(a, b []Run, paired bool, metrics []Metric) Result {
	return compare(a, b, paired, metrics, nil)
}
