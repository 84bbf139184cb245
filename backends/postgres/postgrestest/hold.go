package postgrestest

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// holdWriter appends in a transaction that is not committed yet: it has its
// positions and nobody can see them. The function that it returns commits.
func holdWriter(ctx context.Context, config *pgxpool.Config, schema string, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("hold a writer: %w", err)
	}
	backend, err := postgres.Open(ctx, pool, &postgres.Options{Schema: schema, NoListen: true})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("hold a writer: %w", err)
	}
	end := func() error {
		err := backend.Close()
		pool.Close()
		return err
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hold a writer: %w", err), end())
	}
	result, err := backend.AppendTx(ctx, tx, part.Stream, part.Expected, part.Events...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hold a writer: %w", err), tx.Rollback(ctx), end())
	}
	return func() (eventstore.AppendResult, error) {
		err := tx.Commit(context.WithoutCancel(ctx))
		backend.Notify()
		return result, errors.Join(err, end())
	}, nil
}
