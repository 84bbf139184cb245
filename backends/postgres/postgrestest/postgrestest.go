// Package postgrestest prepares PostgreSQL stores for conformance runs,
// benchmarks and tests. It is linked by those alone.
package postgrestest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// pollInterval is that of the handles without notifications: short, because
// checks wait for it.
const pollInterval = 20 * time.Millisecond

// Isolate prepares a store in a new schema of the URL's database, with the URL's
// parameters.
func Isolate(_ context.Context, u *url.URL) (*conformance.Isolated, error) {
	config, err := postgres.PoolConfig(u)
	if err != nil {
		return nil, err
	}
	schema := "switchyard_" + strings.ToLower(rand.Text())
	fresh := pgdriver.With(u, map[string]string{"schema": schema, "migrate": "on"})
	return &conformance.Isolated{
		URL:         fresh.String(),
		Open:        conformance.Opener(postgres.Scheme().Open, fresh),
		OpenPolling: conformance.Opener(postgres.Scheme().Open, pgdriver.With(&fresh, map[string]string{"listen": "off", "poll": pollInterval.String()})),
		HoldWriter: func(ctx context.Context, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
			return holdWriter(ctx, config.Copy(), schema, part)
		},
		Remove: func(ctx context.Context) error {
			pool, err := pgxpool.NewWithConfig(ctx, config.Copy())
			if err != nil {
				return fmt.Errorf("drop schema %q: %w", schema, err)
			}
			defer pool.Close()
			return Drop(ctx, pool, schema)
		},
	}, nil
}

// Drop deletes a store: its schema and everything in it. Every handle on it must
// be closed. A schema that does not exist is no error.
func Drop(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	_, err := pool.Exec(ctx, "drop schema if exists "+pgx.Identifier{schema}.Sanitize()+" cascade")
	if err != nil {
		return fmt.Errorf("drop schema %q: %w", schema, pgdriver.Mapped("postgres", nil, err))
	}
	return nil
}
