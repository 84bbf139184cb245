package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Projection keeps tables of the store's database in step with its events.
type Projection struct {
	// Name identifies the projection's checkpoint: 1–255 bytes.
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
	// Batch is the most events in one transaction; 0 means 100. The events of a
	// batch that fails are handled again one by one.
	Batch int
	// Retry says how often a failing event is tried; see [eventstore.HandlerRetry].
	Retry eventstore.HandlerRetry
	// ParkStream, where not empty, is the stream that takes a link to each event
	// that failed for good, in one transaction with the checkpoint; the projection
	// then goes on. Empty means that Project stops with a *HandlerError. Events of
	// this stream are not handled. Links are those of [eventstore.Store.Run].
	ParkStream string
}

const (
	defaultBatch = 100
	batchBytes   = 4 << 20
	// An idle projection whose filter passes over events saves its place this often.
	progressEvery = time.Second
	// Pauses while the server is away.
	firstPause, longestPause = 10 * time.Millisecond, time.Second
)

// Project handles events until ctx is done, each exactly once: the handler's rows
// and the checkpoint are committed in one transaction. Several processes may
// project under one name; the checkpoint's row lets one at a time work.
//
// A handler that fails with a deadlock, a lock timeout or another transient error of
// the database, or with ErrUnavailable, is tried again until it does not. A handler that
// fails otherwise, or panics, is tried again as Retry says; then the event is
// parked, or Project stops with a *[eventstore.HandlerError]. Nothing that the
// handler wrote for that event is kept. While the server is away Project waits and
// resumes.
//
// Errors: the context's error; *HandlerError; ErrInvalid; ErrForeignCheckpoint or
// ErrCheckpointAhead before any event is handled; ErrClosed.
func (b *Backend) Project(ctx context.Context, p Projection) error {
	run, err := b.newProjecting(ctx, p)
	if err == nil {
		err = run.loop(ctx)
	}
	if err != nil {
		return fmt.Errorf("project %.64q: %w", p.Name, err)
	}
	return nil
}

// projecting is a Projection that runs.
type projecting struct {
	Projection
	b *Backend
	// saved is the stored checkpoint; after is how far events were considered,
	// which is beyond it where the filter passed over the rest.
	saved, after eventstore.Position
	savedAt      time.Time
	alone        int                      // events to be handled one by one, after a failure
	failures     int                      // of the next event
	parking      *eventstore.HandlerError // the next event, when it has failed for good
}

func (b *Backend) newProjecting(ctx context.Context, p Projection) (*projecting, error) {
	if p.Handler == nil {
		return nil, &eventstore.InvalidError{Field: "handler", Reason: "it is nil; give the function that handles an event"}
	}
	if p.Batch < 0 || p.Retry.Attempts < 0 || p.Retry.Pause < 0 || p.Retry.MaxPause < 0 {
		return nil, &eventstore.InvalidError{Field: "projection", Reason: "a number or duration is negative; zero means the default"}
	}
	p.Batch = cmp.Or(p.Batch, defaultBatch)
	p.Retry.Attempts = cmp.Or(p.Retry.Attempts, 5)
	p.Retry.Pause = cmp.Or(p.Retry.Pause, 100*time.Millisecond)
	p.Retry.MaxPause = cmp.Or(p.Retry.MaxPause, 10*time.Second)
	// A Store checks the name, the checkpoint, the filter and the stream as for Run.
	store, err := eventstore.New(b, nil)
	if err != nil {
		return nil, err
	}
	checkpoint, ok, err := store.LoadCheckpoint(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	for _, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{Filter: p.Filter, Limit: 1}) {
		if err != nil {
			return nil, err
		}
	}
	if p.ParkStream != "" {
		if _, err := store.StreamVersion(ctx, p.ParkStream); err != nil {
			return nil, err
		}
	}
	run := &projecting{Projection: p, b: b, saved: p.After}
	if ok {
		run.saved = checkpoint.Position
	}
	run.after = run.saved
	return run, nil
}

func (r *projecting) loop(ctx context.Context) error {
	defer r.b.wake.subscribe()()
	pause := firstPause
	for {
		var hint <-chan struct{}
		if r.b.wake.hint != nil {
			hint = r.b.wake.hint.C()
		}
		idle, err := r.step(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, eventstore.ErrUnknownOutcome):
			// The checkpoint tells whether an unknown commit took place.
			if err := wait(ctx, pause, nil); err != nil {
				return err
			}
			pause = min(2*pause, longestPause)
			continue
		case err != nil:
			return err
		}
		pause = firstPause
		switch {
		case r.failures > 0:
			err = wait(ctx, r.retryPause(), nil)
		case idle:
			err = wait(ctx, r.b.poll, hint)
		}
		if err != nil {
			return err
		}
	}
}

func (r *projecting) retryPause() time.Duration {
	pause := r.Retry.Pause
	for range r.failures - 1 {
		pause = min(2*pause, r.Retry.MaxPause)
	}
	return pause
}

// step reads a page and handles it in one transaction. idle says that there was
// nothing more to read.
func (r *projecting) step(ctx context.Context) (idle bool, err error) {
	size := eventstore.PageSize{MaxEvents: r.Batch, MaxBytes: batchBytes}
	if r.alone > 0 || r.failures > 0 {
		size.MaxEvents = 1
	}
	page, err := r.b.ReadAll(ctx, eventstore.ReadAllRequest{After: r.after, Filter: r.Filter, PageSize: size})
	if err != nil {
		return false, err
	}
	moved := r.after.Before(page.Next)
	if len(page.Events) == 0 && (!moved || time.Since(r.savedAt) < progressEvery) {
		r.after = page.Next
		return page.End, nil
	}
	err = r.handle(ctx, page)
	var failed *eventstore.HandlerError
	if errors.As(err, &failed) {
		return false, r.failed(failed, len(page.Events))
	}
	return page.End && err == nil, err
}

// failed notes that an event was not handled. Where it was tried often enough that
// is the end, or it is parked next. A batch's events are told apart first.
func (r *projecting) failed(failure *eventstore.HandlerError, batch int) error {
	if batch > 1 {
		r.alone = batch
		return nil
	}
	r.failures++
	failure.Attempts = r.failures
	switch {
	case r.failures < r.Retry.Attempts:
	case r.ParkStream == "":
		return failure
	default:
		r.parking, r.alone, r.failures = failure, max(1, r.alone), 0
	}
	return nil
}

// handle hands a page's events to the handler and commits what it wrote with the
// checkpoint. If another process has moved the checkpoint, nothing is handled and
// the next step starts from there.
func (r *projecting) handle(ctx context.Context, page eventstore.Page) error {
	tx, err := r.b.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return readError(ctx, err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after a commit it does nothing; otherwise the first error counts
	start := eventstore.Checkpoint{Name: r.Name, Store: r.b.id, Position: r.saved}
	if err := r.b.change(ctx, tx, r.b.sql.beginCheckpoint, checkpointArgs(start)...); err != nil {
		return readError(ctx, err)
	}
	stored, _, err := r.b.scanCheckpoint(r.Name, tx.QueryRow(ctx, r.b.sql.lockCheckpoint, r.Name))
	if err != nil {
		return readError(ctx, err)
	}
	if stored.Store != r.b.id {
		return &eventstore.ForeignCheckpointError{Name: r.Name, Checkpoint: stored.Store, Store: r.b.id}
	}
	if stored.Position != r.saved {
		r.saved, r.after, r.alone, r.failures, r.parking = stored.Position, stored.Position, 0, 0, nil
		return nil
	}
	for _, event := range page.Events {
		if r.parking != nil && r.parking.Position == event.Position {
			if err := r.park(ctx, tx); err != nil {
				return err
			}
			continue
		}
		if err := r.call(ctx, tx, event); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if tx.Conn().IsClosed() {
				return fmt.Errorf("%w: the connection was lost in the handler: %w", eventstore.ErrUnavailable, err)
			}
			if isPassing(err) {
				return fmt.Errorf("%w: the handler's statement: %w", eventstore.ErrUnavailable, err)
			}
			return &eventstore.HandlerError{
				Subscription: r.Name, Stream: event.Stream, EventID: event.ID,
				Version: event.Version, Position: event.Position, Err: err,
			}
		}
	}
	end := eventstore.Checkpoint{Name: r.Name, Store: r.b.id, Position: page.Next}
	if err := r.b.change(ctx, tx, r.b.sql.saveCheckpoint, checkpointArgs(end)...); err != nil {
		return readError(ctx, err)
	}
	// The commit is not cut short when ctx ends: its outcome would be unknown.
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := tx.Commit(commit); err != nil {
		if reload := r.reload(ctx); reload != nil {
			return reload
		}
		return commitError(err)
	}
	r.saved, r.after, r.savedAt = page.Next, page.Next, time.Now()
	r.alone, r.failures = max(0, r.alone-len(page.Events)), 0
	if r.parking != nil {
		r.parking = nil
		r.b.Notify()
	}
	return nil
}

// park appends the link to the event that failed for good.
func (r *projecting) park(ctx context.Context, tx pgx.Tx) error {
	link, err := r.parking.Link()
	if err == nil {
		_, err = r.b.AppendTx(ctx, tx, r.ParkStream, eventstore.Any(), link)
	}
	if errors.Is(err, eventstore.ErrEventIDReused) {
		return nil // parked before, under this name, and the checkpoint was deleted since
	}
	return err
}

// reload is for after an unknown commit.
func (r *projecting) reload(ctx context.Context) error {
	checkpoint, ok, err := r.b.Checkpoints().Load(ctx, r.Name)
	if err == nil && ok {
		r.saved, r.after = checkpoint.Position, checkpoint.Position
	}
	return err
}

// call calls the handler and turns its panic into an error.
func (r *projecting) call(ctx context.Context, tx pgx.Tx, event eventstore.RecordedEvent) (err error) {
	if r.ParkStream != "" && event.Stream == r.ParkStream {
		return nil
	}
	defer func() {
		if value := recover(); value != nil {
			err = &eventstore.PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return r.Handler(ctx, tx, event)
}

// isPassing tells whether a handler failed for a reason that is not the event's, and
// passes: a lock, a deadlock, a time limit, or whatever it says itself is unavailable.
func isPassing(err error) bool {
	var server *pgconn.PgError
	return errors.Is(err, eventstore.ErrUnavailable) || errors.As(err, &server) && isTransient(server) && server.Code != "23505"
}

// wait waits for a time, a hint, or the end of ctx, which is the only error.
func wait(ctx context.Context, d time.Duration, hint <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-hint:
	case <-timer.C:
	}
	return nil
}
