package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records {
	return eventstore.Records{Checkpoints: checkpoints{b}, Snapshots: snapshots{b}}
}

type checkpoints struct{ b *Backend }

func (c checkpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (result eventstore.LoadCheckpointResult, err error) {
	err = c.b.call(ctx, func(ctx context.Context) error {
		result, err = c.b.scanCheckpoint(req.Name, c.b.pool.QueryRow(ctx, c.b.sql.loadCheckpoint, req.Name))
		return err
	})
	return result, err
}

func (c checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	return c.b.call(ctx, func(ctx context.Context) error { return c.b.saveCheckpoint(ctx, c.b.pool, req) })
}

// saveCheckpoint saves a checkpoint through a pool or in a transaction, in which it
// then holds the row to the end: whoever takes the lease meanwhile waits for that.
func (b *Backend) saveCheckpoint(ctx context.Context, db querier, req eventstore.SaveCheckpointRequest) error {
	checkpoint := req.Checkpoint
	args := checkpointArgs(checkpoint)
	if req.Reset {
		_, err := b.change(ctx, db, b.sql.resetCheckpoint, args...)
		return err
	}
	saved, err := b.change(ctx, db, b.sql.saveCheckpoint, append(args, unsigned(checkpoint.Epoch))...)
	if err != nil || saved {
		return err
	}
	// The stored one is at or beyond it, or its epoch is over, which it then stays.
	stored, err := b.scanCheckpoint(checkpoint.Name, db.QueryRow(ctx, b.sql.loadCheckpoint, checkpoint.Name))
	if err == nil && checkpoint.Epoch < stored.Checkpoint.Epoch {
		err = &eventstore.LeaseLostError{Name: checkpoint.Name, Epoch: checkpoint.Epoch, Stored: stored.Checkpoint.Epoch}
	}
	return err
}

func (c checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	return c.b.call(ctx, func(ctx context.Context) error {
		_, err := c.b.change(ctx, c.b.pool, c.b.sql.deleteCheckpoint, req.Name)
		return err
	})
}

func (c checkpoints) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (result eventstore.ListCheckpointsResult, err error) {
	err = c.b.call(ctx, func(ctx context.Context) error {
		rows, err := c.b.pool.Query(ctx, c.b.sql.listCheckpoints, req.After, req.Limit)
		if err != nil {
			return err
		}
		var name *string // null, like the rest, where there is none
		var r checkpointRow
		_, err = pgx.ForEachRow(rows, append([]any{&r.table, &name}, r.columns()...), func() error {
			if err := c.b.checkTable(r.table); err != nil || name == nil {
				return err
			}
			one, err := r.result(*name)
			result.Checkpoints = append(result.Checkpoints, one.Checkpoint)
			return err
		})
		return err
	})
	return result, err
}

func (c checkpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (result eventstore.SwapLeaseResult, err error) {
	sql, args := c.b.sql.takeLease, leaseArgs(req.Name, req.New)
	if !req.Old.Same(eventstore.Lease{}) {
		sql = c.b.sql.moveLease
		args = append(args, unsigned(req.Old.Epoch), req.Old.Owner, unsigned(req.Old.Renewals))
	}
	err = c.b.call(ctx, func(ctx context.Context) error {
		if result.Swapped, err = c.b.change(ctx, c.b.pool, sql, args...); err != nil {
			return err
		}
		if result.Swapped {
			result.Lease = req.New
			return nil
		}
		result.Lease, err = c.b.loadLease(ctx, req.Name)
		return err
	})
	return result, err
}

func (b *Backend) loadLease(ctx context.Context, name string) (eventstore.Lease, error) {
	var table int64
	var epoch, owner, renewals *string
	var ttl *int64
	if err := b.pool.QueryRow(ctx, b.sql.loadLease, name).Scan(&table, &epoch, &owner, &renewals, &ttl); err != nil {
		return eventstore.Lease{}, err
	}
	if err := b.checkTable(table); err != nil || epoch == nil {
		return eventstore.Lease{}, err
	}
	lease := eventstore.Lease{Name: name, Owner: *owner, TTL: time.Duration(*ttl)}
	err := parseUnsigned(&lease.Epoch, epoch)
	if err == nil {
		err = parseUnsigned(&lease.Renewals, renewals)
	}
	return lease, err
}

func leaseArgs(name string, l eventstore.Lease) []any {
	return []any{name, unsigned(l.Epoch), l.Owner, unsigned(l.Renewals), int64(l.TTL)}
}

// checkpointRow is a row of the checkpoints; all of it is null where there is none.
type checkpointRow struct {
	table                     int64
	epoch, high, low, version *string
	store, event              *uuid.UUID
	stream                    *string
}

func (r *checkpointRow) columns() []any {
	return []any{&r.epoch, &r.store, &r.high, &r.low, &r.stream, &r.version, &r.event}
}

func (r *checkpointRow) result(name string) (eventstore.LoadCheckpointResult, error) {
	result := eventstore.LoadCheckpointResult{Checkpoint: eventstore.Checkpoint{Name: name}}
	var high, low uint64
	place := &result.Checkpoint.Place
	for _, number := range []struct {
		into *uint64
		text *string
	}{{&result.Checkpoint.Epoch, r.epoch}, {&high, r.high}, {&low, r.low}, {&place.Version, r.version}} {
		if err := parseUnsigned(number.into, number.text); err != nil {
			return result, fmt.Errorf("checkpoint %q: %w", name, err)
		}
	}
	if r.store == nil {
		return result, nil
	}
	result.Found, result.Checkpoint.Store = true, *r.store
	place.Position, place.Stream, place.ID = eventstore.NewPosition(high, low), *r.stream, *r.event
	return result, nil
}

func (b *Backend) scanCheckpoint(name string, row pgx.Row) (eventstore.LoadCheckpointResult, error) {
	var r checkpointRow
	err := row.Scan(append([]any{&r.table}, r.columns()...)...)
	if err == nil {
		err = b.checkTable(r.table)
	}
	if err != nil {
		return eventstore.LoadCheckpointResult{}, err
	}
	return r.result(name)
}

// change runs a statement that changes something where the table that was opened is,
// and tells whether it changed anything.
func (b *Backend) change(ctx context.Context, db querier, sql string, args ...any) (changed bool, err error) {
	var table, rows int64
	if err := db.QueryRow(ctx, sql, append(args, b.table)...).Scan(&table, &rows); err != nil {
		return false, err
	}
	return rows > 0, b.checkTable(table)
}

func checkpointArgs(c eventstore.Checkpoint) []any {
	high, low := c.Place.Position.Words()
	return []any{c.Name, c.Store, unsigned(high), unsigned(low), c.Place.Stream, unsigned(c.Place.Version), c.Place.ID}
}

func unsigned(n uint64) string { return strconv.FormatUint(n, 10) }

// parseUnsigned leaves the number as it is where there is no text.
func parseUnsigned(into *uint64, text *string) error {
	if text == nil {
		return nil
	}
	n, err := strconv.ParseUint(*text, 10, 64)
	if err != nil {
		return fmt.Errorf("a number cannot be read %w: %w", errLocal, err)
	}
	*into = n
	return nil
}

type snapshots struct{ b *Backend }

func (s snapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (result eventstore.LoadSnapshotResult, err error) {
	snapshot := eventstore.Snapshot{Stream: req.Stream, Type: req.Type}
	err = s.b.call(ctx, func(ctx context.Context) error {
		var table int64
		var version, schemaVersion pgtype.Int8 // null where there is no snapshot
		err := s.b.pool.QueryRow(ctx, s.b.sql.loadSnapshot, req.Stream, req.Type).Scan(&table, &version, &schemaVersion, &snapshot.Data)
		if err == nil {
			err = s.b.checkTable(table)
		}
		snapshot.Version, snapshot.SchemaVersion = uint64(version.Int64), int(schemaVersion.Int64)
		result.Found = err == nil && version.Valid
		return err
	})
	if result.Found {
		result.Snapshot = snapshot
	}
	return result, err
}

func (s snapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	snapshot := req.Snapshot
	return s.b.call(ctx, func(ctx context.Context) error {
		_, err := s.b.change(ctx, s.b.pool, s.b.sql.saveSnapshot,
			snapshot.Stream, snapshot.Type, clamp(snapshot.Version), snapshot.SchemaVersion, notNil(snapshot.Data))
		return err
	})
}

func (s snapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	return s.b.call(ctx, func(ctx context.Context) error {
		_, err := s.b.change(ctx, s.b.pool, s.b.sql.deleteSnapshot, req.Stream, req.Type)
		return err
	})
}
