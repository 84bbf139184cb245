package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checkpoints implements [eventstore.Backend].
func (b *Backend) Checkpoints() eventstore.Checkpoints { return checkpoints{b} }

// Snapshots implements [eventstore.Backend].
func (b *Backend) Snapshots() eventstore.Snapshots { return snapshots{b} }

type checkpoints struct{ b *Backend }

func (c checkpoints) Load(ctx context.Context, name string) (checkpoint eventstore.Checkpoint, ok bool, err error) {
	err = c.b.call(ctx, func(ctx context.Context) error {
		checkpoint, ok, err = c.b.scanCheckpoint(name, c.b.pool.QueryRow(ctx, c.b.sql.loadCheckpoint, name))
		return err
	})
	return checkpoint, ok, err
}

func (c checkpoints) Save(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	return c.b.call(ctx, func(ctx context.Context) error {
		return c.b.change(ctx, c.b.pool, c.b.sql.saveCheckpoint, checkpointArgs(checkpoint)...)
	})
}

func (c checkpoints) Delete(ctx context.Context, name string) error {
	return c.b.call(ctx, func(ctx context.Context) error {
		return c.b.change(ctx, c.b.pool, c.b.sql.deleteCheckpoint, name)
	})
}

// scanCheckpoint reads a row of the checkpoints. Words travel as text, for a
// position has two unsigned 64-bit words and may be another store's.
func (b *Backend) scanCheckpoint(name string, row pgx.Row) (eventstore.Checkpoint, bool, error) {
	var table int64
	var store *uuid.UUID // null, like the rest, where there is no checkpoint
	var high, low pgtype.Text
	if err := row.Scan(&table, &store, &high, &low); err != nil {
		return eventstore.Checkpoint{}, false, err
	}
	if err := b.checkTable(table); err != nil || store == nil {
		return eventstore.Checkpoint{}, false, err
	}
	hi, errHigh := strconv.ParseUint(high.String, 10, 64)
	lo, errLow := strconv.ParseUint(low.String, 10, 64)
	if err := errors.Join(errHigh, errLow); err != nil {
		return eventstore.Checkpoint{}, false, fmt.Errorf("checkpoint %q: position: %w", name, err)
	}
	return eventstore.Checkpoint{Name: name, Store: *store, Position: eventstore.NewPosition(hi, lo)}, true, nil
}

// change runs a statement that changes something where the table that was opened is.
func (b *Backend) change(ctx context.Context, db querier, sql string, args ...any) error {
	var table int64
	if err := db.QueryRow(ctx, sql, append(args, b.table)...).Scan(&table); err != nil {
		return err
	}
	return b.checkTable(table)
}

func checkpointArgs(c eventstore.Checkpoint) []any {
	hi, lo := c.Position.Words()
	return []any{c.Name, c.Store, strconv.FormatUint(hi, 10), strconv.FormatUint(lo, 10)}
}

type snapshots struct{ b *Backend }

func (s snapshots) Load(ctx context.Context, stream, snapshotType string) (snapshot eventstore.Snapshot, ok bool, err error) {
	err = s.b.call(ctx, func(ctx context.Context) error {
		var table int64
		var version, schemaVersion pgtype.Int8 // null where there is no snapshot
		err := s.b.pool.QueryRow(ctx, s.b.sql.loadSnapshot, stream, snapshotType).Scan(&table, &version, &schemaVersion, &snapshot.Data)
		if err == nil {
			err = s.b.checkTable(table)
		}
		ok = err == nil && version.Valid
		snapshot.Stream, snapshot.Type = stream, snapshotType
		snapshot.Version, snapshot.SchemaVersion = uint64(version.Int64), int(schemaVersion.Int64)
		return err
	})
	if !ok {
		snapshot = eventstore.Snapshot{}
	}
	return snapshot, ok, err
}

func (s snapshots) Save(ctx context.Context, snapshot eventstore.Snapshot) error {
	data := snapshot.Data
	if data == nil {
		data = []byte{}
	}
	return s.b.call(ctx, func(ctx context.Context) error {
		return s.b.change(ctx, s.b.pool, s.b.sql.saveSnapshot, snapshot.Stream, snapshot.Type, clamp(snapshot.Version), snapshot.SchemaVersion, data)
	})
}

func (s snapshots) Delete(ctx context.Context, stream, snapshotType string) error {
	return s.b.call(ctx, func(ctx context.Context) error {
		return s.b.change(ctx, s.b.pool, s.b.sql.deleteSnapshot, stream, snapshotType)
	})
}
