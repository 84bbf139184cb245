package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checkpoints implements [eventstore.Backend].
func (b *Backend) Checkpoints() eventstore.Checkpoints { return checkpoints{b} }

// Snapshots implements [eventstore.Backend].
func (b *Backend) Snapshots() eventstore.Snapshots { return snapshots{b} }

type checkpoints struct{ b *Backend }

func (c checkpoints) Load(ctx context.Context, name string) (checkpoint eventstore.Checkpoint, ok bool, err error) {
	err = c.b.call(ctx, func(ctx context.Context) error {
		checkpoint, ok, err = scanCheckpoint(name, c.b.pool.QueryRow(ctx, c.b.sql.loadCheckpoint, name))
		return err
	})
	return checkpoint, ok, err
}

func (c checkpoints) Save(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	return c.b.call(ctx, func(ctx context.Context) error {
		return saveCheckpoint(ctx, c.b.pool, c.b.sql.saveCheckpoint, checkpoint)
	})
}

func (c checkpoints) Delete(ctx context.Context, name string) error {
	return c.b.call(ctx, func(ctx context.Context) error {
		_, err := c.b.pool.Exec(ctx, c.b.sql.deleteCheckpoint, name)
		return err
	})
}

// scanCheckpoint reads a row of the checkpoints. Words travel as text, for a
// position has two unsigned 64-bit words and may be another store's.
func scanCheckpoint(name string, row pgx.Row) (eventstore.Checkpoint, bool, error) {
	var store uuid.UUID
	var high, low string
	if err := row.Scan(&store, &high, &low); errors.Is(err, pgx.ErrNoRows) {
		return eventstore.Checkpoint{}, false, nil
	} else if err != nil {
		return eventstore.Checkpoint{}, false, err
	}
	hi, errHigh := strconv.ParseUint(high, 10, 64)
	lo, errLow := strconv.ParseUint(low, 10, 64)
	if err := errors.Join(errHigh, errLow); err != nil {
		return eventstore.Checkpoint{}, false, fmt.Errorf("checkpoint %q: position: %w", name, err)
	}
	return eventstore.Checkpoint{Name: name, Store: store, Position: eventstore.NewPosition(hi, lo)}, true, nil
}

func saveCheckpoint(ctx context.Context, db querier, sql string, c eventstore.Checkpoint) error {
	_, err := db.Exec(ctx, sql, checkpointArgs(c)...)
	return err
}

func checkpointArgs(c eventstore.Checkpoint) []any {
	hi, lo := c.Position.Words()
	return []any{c.Name, c.Store, strconv.FormatUint(hi, 10), strconv.FormatUint(lo, 10)}
}

type snapshots struct{ b *Backend }

func (s snapshots) Load(ctx context.Context, stream, snapshotType string) (snapshot eventstore.Snapshot, ok bool, err error) {
	err = s.b.call(ctx, func(ctx context.Context) error {
		var version int64
		err := s.b.pool.QueryRow(ctx, s.b.sql.loadSnapshot, stream, snapshotType).Scan(&version, &snapshot.SchemaVersion, &snapshot.Data)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		ok = err == nil
		snapshot.Stream, snapshot.Type, snapshot.Version = stream, snapshotType, uint64(version)
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
		_, err := s.b.pool.Exec(ctx, s.b.sql.saveSnapshot, snapshot.Stream, snapshot.Type, clamp(snapshot.Version), snapshot.SchemaVersion, data)
		return err
	})
}

func (s snapshots) Delete(ctx context.Context, stream, snapshotType string) error {
	return s.b.call(ctx, func(ctx context.Context) error {
		_, err := s.b.pool.Exec(ctx, s.b.sql.deleteSnapshot, stream, snapshotType)
		return err
	})
}
