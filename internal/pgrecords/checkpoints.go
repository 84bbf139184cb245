package pgrecords

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

type checkpoints struct{ r *Records }

func (c checkpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (result eventstore.LoadCheckpointResult, err error) {
	err = c.r.Call(ctx, func(ctx context.Context) error {
		result, err = c.r.load(ctx, req.Name)
		return err
	})
	return result, err
}

func (c checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	return c.r.Call(ctx, func(ctx context.Context) error { return c.r.save(ctx, req) })
}

// load reads a checkpoint. Its errors are the driver's, or Moved's.
func (r *Records) load(ctx context.Context, name string) (eventstore.LoadCheckpointResult, error) {
	return r.scanCheckpoint(name, r.Pool.QueryRow(ctx, r.sql.loadCheckpoint, name))
}

func (r *Records) save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	checkpoint := req.Checkpoint
	args := checkpointArgs(checkpoint)
	if req.Reset {
		_, err := r.change(ctx, r.sql.resetCheckpoint, args...)
		return err
	}
	saved, err := r.change(ctx, r.sql.saveCheckpoint, append(args, unsigned(checkpoint.Epoch))...)
	if err != nil || saved {
		return err
	}
	// The stored one is at or beyond it, or its epoch is over, which it then stays.
	stored, err := r.load(ctx, checkpoint.Name)
	if err == nil && checkpoint.Epoch < stored.Checkpoint.Epoch {
		err = &eventstore.LeaseLostError{Name: checkpoint.Name, Epoch: checkpoint.Epoch, Stored: stored.Checkpoint.Epoch}
	}
	return err
}

func (c checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	return c.r.Call(ctx, func(ctx context.Context) error {
		_, err := c.r.change(ctx, c.r.sql.deleteCheckpoint, req.Name)
		return err
	})
}

func (c checkpoints) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (result eventstore.ListCheckpointsResult, err error) {
	err = c.r.Call(ctx, func(ctx context.Context) error {
		rows, err := c.r.Pool.Query(ctx, c.r.sql.listCheckpoints, req.After, req.Limit)
		if err != nil {
			return err
		}
		var name *string // null, like the rest, where there is none
		var found checkpointRow
		_, err = pgx.ForEachRow(rows, append([]any{&found.table, &name}, found.columns()...), func() error {
			if err := c.r.checkTable(found.table); err != nil || name == nil {
				return err
			}
			one, err := found.result(*name)
			result.Checkpoints = append(result.Checkpoints, one.Checkpoint)
			return err
		})
		return err
	})
	return result, err
}

func (c checkpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (result eventstore.SwapLeaseResult, err error) {
	sql, args := c.r.sql.takeLease, leaseArgs(req.Name, req.New)
	if !req.Old.Same(eventstore.Lease{}) {
		sql = c.r.sql.moveLease
		args = append(args, unsigned(req.Old.Epoch), req.Old.Owner, unsigned(req.Old.Renewals))
	}
	err = c.r.Call(ctx, func(ctx context.Context) error {
		if result.Swapped, err = c.r.change(ctx, sql, args...); err != nil {
			return err
		}
		if result.Swapped {
			result.Lease = req.New
			return nil
		}
		result.Lease, err = c.r.loadLease(ctx, req.Name)
		return err
	})
	return result, err
}

func (r *Records) loadLease(ctx context.Context, name string) (eventstore.Lease, error) {
	var table int64
	var epoch, owner, renewals *string
	var ttl *int64
	if err := r.Pool.QueryRow(ctx, r.sql.loadLease, name).Scan(&table, &epoch, &owner, &renewals, &ttl); err != nil {
		return eventstore.Lease{}, err
	}
	if err := r.checkTable(table); err != nil || epoch == nil {
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

func (r *Records) scanCheckpoint(name string, row pgx.Row) (eventstore.LoadCheckpointResult, error) {
	var found checkpointRow
	err := row.Scan(append([]any{&found.table}, found.columns()...)...)
	if err == nil {
		err = r.checkTable(found.table)
	}
	if err != nil {
		return eventstore.LoadCheckpointResult{}, err
	}
	return found.result(name)
}

// change runs a statement that changes something where the table that was opened is,
// and tells whether it changed anything.
func (r *Records) change(ctx context.Context, sql string, args ...any) (changed bool, err error) {
	var table, rows int64
	if err := r.Pool.QueryRow(ctx, sql, append(args, r.Table)...).Scan(&table, &rows); err != nil {
		return false, err
	}
	return rows > 0, r.checkTable(table)
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
		return fmt.Errorf("a number cannot be read %w: %w", pgdriver.ErrLocal, err)
	}
	*into = n
	return nil
}
