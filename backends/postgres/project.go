package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// Projection keeps tables of the store's database in step with its events.
type Projection struct {
	// Name identifies the projection's checkpoint and lease: 1–255 bytes.
	Name string
	// Handler is called with each event, one at a time, in the global order. What
	// it writes through tx is committed together with the checkpoint, so each
	// event counts exactly once, whatever crashes. It must not commit or roll back
	// tx, and what it does elsewhere may be done again.
	Handler func(ctx context.Context, tx pgx.Tx, event eventstore.RecordedEvent) error
	// Filter selects events.
	Filter eventstore.Filter
	// After is where a projection without a checkpoint begins; the zero Position
	// is the first event.
	After eventstore.Position
	// UntilCaughtUp makes Project return nil once everything that was stored when it
	// began is handled.
	UntilCaughtUp bool
	// LeaseTTL, Retry and ParkStream are those of [eventstore.Subscription].
	LeaseTTL   time.Duration
	Retry      eventstore.HandlerRetry
	ParkStream string
	// Options are those of the Store that runs the projection; nil means the defaults.
	Options *eventstore.Options
}

// Project handles events until ctx is done, each exactly once: it is
// [eventstore.Store.Run] with batches, each of which is one transaction with the
// handler's rows and the checkpoint. Of one name one process at a time works. The
// events of a batch that fails are handled again one by one, each in a transaction of
// its own; nothing stays of what the handler wrote for an event that failed.
//
// A deadlock, a lock timeout or another transient error of the database in the handler
// is waited out like ErrUnavailable. Errors are those of Run.
func (b *Backend) Project(ctx context.Context, p Projection) error {
	if p.Handler == nil {
		return &eventstore.InvalidError{Field: "handler", Reason: "it is nil; give the function that handles an event"}
	}
	store, err := eventstore.New(b, p.Options) // never closed: that would close the backend
	if err != nil {
		return err
	}
	return store.Run(ctx, eventstore.Subscription{
		Name: p.Name, Filter: p.Filter, After: p.After, UntilCaughtUp: p.UntilCaughtUp,
		LeaseTTL: p.LeaseTTL, Retry: p.Retry, ParkStream: p.ParkStream,
		HandleBatch: func(ctx context.Context, batch eventstore.Batch) error { return b.projectBatch(ctx, p, batch) },
	})
}

// projectBatch hands events to the handler and commits what it wrote with the checkpoint.
func (b *Backend) projectBatch(ctx context.Context, p Projection, batch eventstore.Batch) error {
	// The connection is held to the end, even where the handler ends the transaction
	// against the rules: one that went back to the pool would be another's by then.
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return readError(ctx, err)
	}
	defer conn.Release()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return readError(ctx, err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after a commit it does nothing; otherwise the first error counts
	// The name is another one than the projection's where a parked event is retried.
	stored, err := b.records.Load(ctx, tx, batch.Checkpoint.Name)
	if err != nil {
		return readError(ctx, err)
	}
	for _, event := range batch.Events {
		if stored.Found && !stored.Checkpoint.Place.Position.Before(event.Position) {
			continue // committed by an attempt whose answer was lost
		}
		if err := p.Handler(ctx, tx, event); err != nil {
			return passing(ctx, tx, err)
		}
	}
	if err := b.saveInStep(ctx, tx, stored.Checkpoint, batch.Checkpoint); err != nil {
		return passing(ctx, tx, err)
	}
	// The commit is not cut short when ctx ends: its outcome would be unknown.
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := tx.Commit(commit); err != nil {
		err = commitError(err)
		if errors.Is(err, eventstore.ErrUnknownOutcome) { // the stored checkpoint tells the next attempt
			err = fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
		}
		return err
	}
	return nil
}

// saveInStep saves a checkpoint where the stored one is as it was when the transaction
// began: an earlier attempt may have been under way still. The row is locked only now,
// for the lease is in it, and must be renewed while the handler works.
func (b *Backend) saveInStep(ctx context.Context, tx pgx.Tx, began, next eventstore.Checkpoint) error {
	now, err := b.records.Lock(ctx, tx, next.Name)
	switch {
	case err != nil:
		return err
	case now.Checkpoint.Epoch != next.Epoch:
		return &eventstore.LeaseLostError{Name: next.Name, Epoch: next.Epoch, Stored: now.Checkpoint.Epoch}
	case now.Checkpoint.Place != began.Place:
		return fmt.Errorf("%w: an earlier attempt was committed meanwhile", eventstore.ErrUnavailable)
	}
	return b.records.Save(ctx, tx, eventstore.SaveCheckpointRequest{Checkpoint: next})
}

// passing marks what is not the event's failure as unavailable: a lost connection, a
// lock, a deadlock, a time limit.
func passing(ctx context.Context, tx pgx.Tx, err error) error {
	var server *pgconn.PgError
	switch {
	case ctx.Err() != nil, errors.Is(err, eventstore.ErrUnavailable):
		return err
	case tx.Conn().IsClosed():
		return fmt.Errorf("%w: the connection was lost in the handler: %w", eventstore.ErrUnavailable, err)
	case errors.As(err, &server) && pgdriver.IsTransient(server):
		return fmt.Errorf("%w: the handler's statement: %w", eventstore.ErrUnavailable, err)
	}
	return err
}
