// Package record is a run's record: the one thing that every part of livedrill writes to and that every report is made
// from. It has two halves, an event log (events.jsonl) and a Prometheus time-series database (tsdb/), both on the run's
// own clock. Processes offer their numbers as Metrics over a Unix socket, which crosses the network namespaces of a range
// and is not touched by any network fault; a Scraper reads all of them at once.
package record
