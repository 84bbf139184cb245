package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// AppendTx appends inside a transaction of the caller's, so that rows and events
// become visible together or not at all. Arguments, verdicts and errors are those
// of [eventstore.Store.Append] with the portable limits; call it more than once to
// append to several streams. tx must be read committed and in the database of the
// backend.
//
// The cost: from the first AppendTx to the end of tx, every other append to the
// store waits, in all processes. Do everything else first, append last, commit at
// once. The server ends tx if it idles for 15 s while it holds the lock, unless
// tx has an idle_in_transaction_session_timeout of its own; others wait for at
// most 10 s and then fail with ErrUnavailable.
//
// After ErrConflict or ErrEventIDReused this call has written nothing and tx can
// go on. After any other error roll tx back. An error of tx's commit leaves the
// outcome of everything in tx unknown; repeat all of it, with the same event IDs.
// Subscriptions hear of the events at their next poll, or at once after
// [Backend.Notify].
func (b *Backend) AppendTx(ctx context.Context, tx pgx.Tx, stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) (eventstore.AppendResult, error) {
	// A Store over this one transaction checks and prepares the events as always.
	store, err := eventstore.New(&txBackend{Backend: b, tx: tx}, &eventstore.Options{RetryFor: -1})
	if err != nil {
		return eventstore.AppendResult{}, err
	}
	return store.Append(ctx, stream, expected, events...)
}

// Notify wakes subscriptions, in this and other processes: call it after the
// commit of a transaction in which AppendTx was used. It does not wait.
func (b *Backend) Notify() { b.wake.appended() }

// txBackend appends inside one transaction.
type txBackend struct {
	*Backend
	tx pgx.Tx
}

func (b *txBackend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	results, err := b.appendIn(ctx, b.tx, req.Parts)
	return results, readError(ctx, err)
}

// appendAlone judges and writes one append in a transaction of its own.
func (b *Backend) appendAlone(ctx context.Context, parts []eventstore.StreamAppend) ([]eventstore.AppendResult, error) {
	tx, err := b.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return nil, b.groupError(ctx, err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after a commit it does nothing; otherwise the first error counts
	results, err := b.appendIn(ctx, tx, parts)
	if err != nil {
		return nil, b.groupError(ctx, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, commitError(err)
	}
	return results, nil
}

// groupError maps an error from before a commit. The context is a group's and
// not its callers', so its end means that the server was too slow for us.
func (b *Backend) groupError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: no answer in time: %w", eventstore.ErrUnavailable, err)
	}
	return readError(ctx, err)
}

// appendIn takes the store's lock, lets [eventstore.Decide] judge each part, and
// writes. Everything is certain: nothing counts until tx commits.
func (b *Backend) appendIn(ctx context.Context, tx pgx.Tx, parts []eventstore.StreamAppend) ([]eventstore.AppendResult, error) {
	versions, stored, err := b.lockAndLook(ctx, tx, parts)
	if err != nil {
		return nil, err
	}
	results := make([]eventstore.AppendResult, len(parts))
	var write []*eventstore.StreamAppend
	var writeAt []int
	for i := range parts {
		part := &parts[i]
		decision, err := eventstore.Decide(*part, versions[part.Stream], func(id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
			event, ok := stored[storedKey{part.Stream, id}]
			return event, ok, nil
		})
		if err != nil {
			return nil, err
		}
		results[i] = decision.Result
		if decision.Write {
			write, writeAt = append(write, part), append(writeAt, i)
			versions[part.Stream] += uint64(len(part.Events))
		}
	}
	if len(write) == 0 {
		return results, nil
	}
	verdicts, err := b.callAppend(ctx, tx, write)
	if err != nil {
		return nil, err
	}
	for j, v := range verdicts {
		if v.seen || v.refused {
			return nil, fmt.Errorf("append to stream %q: it changed while the lock was held", write[j].Stream)
		}
		results[writeAt[j]] = v.result(len(write[j].Events))
	}
	return results, nil
}

type storedKey struct {
	stream string
	id     uuid.UUID
}

// lockAndLook takes the lock and reads what the verdicts need, in one round trip.
func (b *Backend) lockAndLook(ctx context.Context, tx pgx.Tx, parts []eventstore.StreamAppend) (map[string]uint64, map[storedKey]eventstore.RecordedEvent, error) {
	var ids []pgtype.UUID
	streams := make([]string, len(parts))
	for i, part := range parts {
		streams[i] = part.Stream
		for _, event := range part.Events {
			ids = append(ids, pgtype.UUID{Bytes: event.ID, Valid: true})
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(b.sql.lock, b.table)
	batch.Queue(b.sql.versions, streams)
	batch.Queue(b.sql.storedIDs, ids, streams)
	answers := tx.SendBatch(ctx, batch)
	defer answers.Close()
	if _, err := answers.Exec(); err != nil { // a schema that was renamed is one
		return nil, nil, err
	}
	rows, err := answers.Query()
	if err != nil {
		return nil, nil, err
	}
	current, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, nil, err
	}
	versions := make(map[string]uint64, len(streams))
	for i, stream := range streams {
		versions[stream] = uint64(current[i])
	}
	rows, err = answers.Query()
	if err != nil {
		return nil, nil, err
	}
	stored := make(map[storedKey]eventstore.RecordedEvent)
	err = b.eachEvent(rows, func(event eventstore.RecordedEvent) bool {
		stored[storedKey{event.Stream, event.ID}] = event
		return true
	})
	return versions, stored, err
}
