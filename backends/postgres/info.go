package postgres

import (
	"context"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// Info implements [eventstore.Backend].
func (b *Backend) Info(ctx context.Context) (info eventstore.Info, err error) {
	err = b.call(ctx, func(ctx context.Context) error {
		info, err = b.info(ctx, b.pool)
		return err
	})
	return info, err
}

func (b *Backend) info(ctx context.Context, db querier) (eventstore.Info, error) {
	var info eventstore.Info
	var table int64
	var reason, stream *string
	var head, version *int64 // null, like the rest, in an empty store
	var id *uuid.UUID
	if err := db.QueryRow(ctx, b.sql.info).Scan(&table, &info.ID, &reason, &head, &stream, &version, &id); err != nil {
		return eventstore.Info{}, err
	}
	if err := b.checkTable(table); err != nil {
		return eventstore.Info{}, err
	}
	if reason != nil {
		info.Sealed, info.SealReason = true, *reason
	}
	if head != nil && stream != nil && version != nil && id != nil {
		info.Head = eventstore.Place{Position: pgdriver.Position(*head), Stream: *stream, Version: uint64(*version), ID: *id}
	}
	return info, nil
}
