package gateway

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/XSAM/otelsql"
	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/livedrill/livedrill/reports/record"
	"github.com/livedrill/livedrill/reports/traces"
)

// traceRedis makes what Redis is asked a part of the request's trace. What was asked stays out: it may be somebody's.
func traceRedis(client *redis.Client, kept *record.Traces) error {
	return redisotel.InstrumentTracing(client, redisotel.WithTracerProvider(kept.Provider()), redisotel.WithDBStatement(false),
		redisotel.WithDialFilter(true), redisotel.WithCallerEnabled(false), redisotel.WithAttributes(attribute.String(traces.Peer, "redis")))
}

// openTraced opens the database so that what it is asked, and the wait for a connection to it, are parts of the request's trace.
func openTraced(dsn string, kept *record.Traces, server string) (*sql.DB, error) {
	return otelsql.Open("mysql", dsn, otelsql.WithTracerProvider(kept.Provider()), otelsql.WithAttributes(attribute.String(traces.Peer, server)),
		otelsql.WithSpanOptions(otelsql.SpanOptions{DisableErrSkip: true, DisableQuery: true, OmitConnResetSession: true, OmitRows: true,
			SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
				return trace.SpanContextFromContext(ctx).IsValid() // the audit belongs to no request
			}}))
}
