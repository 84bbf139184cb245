package eventstore

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Subscription is a durable subscription for [Store.Run].
type Subscription struct {
	// Name identifies the subscription's checkpoint and lease: 1–255 bytes.
	Name string
	// Handler is called with each event, in the global order unless Concurrency
	// says otherwise. An event is finished when Handler returns nil. Delivery is at
	// least once: an event may come again after a crash or when the lease changes
	// hands, so Handler must bear repetition. Its context ends when Run is to stop
	// or the lease is lost.
	Handler func(ctx context.Context, event RecordedEvent) error
	// HandleBatch, in place of Handler, is called with the events that are at hand,
	// in the global order; see [Batch].
	HandleBatch func(ctx context.Context, batch Batch) error
	// BatchSaves says that HandleBatch saves the batch's checkpoint itself, in the
	// transaction of its own work, and that Checkpoints are there, for the store's own
	// are in no such transaction. Run then saves only what HandleBatch was not given,
	// and never moves the checkpoint on where the stored one has gone back: see
	// [Batch].Stored.
	BatchSaves bool
	// Concurrency is how many events Handler may be given at once, of different
	// streams: the order is kept within each stream, and the checkpoint stays
	// before the first event that is not finished. 0 means 1, 1,024 is the most.
	// HandleBatch has no concurrency.
	Concurrency int
	// Filter selects events. Another filter under the same name goes on from the
	// same checkpoint.
	Filter Filter
	// After is where a subscription without a checkpoint begins; the zero
	// Position is the first event.
	After Position
	// UntilCaughtUp makes Run return nil once everything that was stored when it
	// began is handled and the checkpoint is saved.
	UntilCaughtUp bool
	// Checkpoints keeps the progress and the lease; nil means the store's own.
	Checkpoints Checkpoints
	// CheckpointEvery saves the checkpoint after so many finished events; 0 means
	// 100. With HandleBatch it is saved after each batch, one of a single event
	// included, unless BatchSaves. The save runs beside the handler: while one is under way, more events
	// or batches may be finished, and then the next one saves all of them.
	CheckpointEvery int
	// CheckpointInterval saves the checkpoint, if it moved, after this time at
	// the latest; 0 means 1 s.
	CheckpointInterval time.Duration
	// LeaseTTL is how long the lease lasts without a renewal, and so how long the
	// others wait for an owner that was killed; 0 means 15 s, and 100 ms is the
	// shortest. It is renewed every third of it.
	LeaseTTL time.Duration
	// Retry says how often an event is tried.
	Retry HandlerRetry
	// ParkStream, where not empty, is the stream that takes a link to each event
	// that failed for good; the subscription then goes on. Empty means that Run
	// stops with a [HandlerError]. Events of this stream are not handled. See
	// [Store.ParkedEvents] and [Store.RetryParked].
	ParkStream string
}

// Batch is what [Subscription].HandleBatch is given: up to 256 events or 4 MiB
// that are at hand, without waiting for more.
type Batch struct {
	Events []RecordedEvent
	// Checkpoint is what Run saves when the batch is finished. A target that saves
	// it in the transaction of its own work, and passes over what it has, handles
	// every event exactly once. Go by its Name, which is not the subscription's where
	// the batch is a parked event that is retried: see [RetriedName].
	Checkpoint Checkpoint
	// Stored is the place of the checkpoint which this Run knows to be stored: the one
	// that it began with, or was saved since. It is zero where there is none, and of a
	// parked event that is retried. A target whose own checkpoint lies before it has
	// lost commits, as a database does that fails over to an asynchronous standby, is
	// restored, or crashes with synchronous_commit off: the events in between would
	// never be handled. It must change nothing and return ErrLeaseLost, whereupon Run
	// takes the lease again and begins at the checkpoint that is there.
	Stored Place
}

// HandlerRetry says how often and how fast a failing event is handled again. A
// failure that matches ErrUnavailable is the world's and not the event's: it is
// waited out and not counted.
type HandlerRetry struct {
	// Attempts counts the first one too; 0 means 5.
	Attempts int
	// Pause is the wait after the first failure; it doubles up to MaxPause.
	// Zero means 100 ms, and 10 s for MaxPause.
	Pause, MaxPause time.Duration
}

// HandlerError says which event a handler failed on for good.
type HandlerError struct {
	Subscription string
	Stream       string
	EventID      uuid.UUID
	Version      uint64
	Position     Position
	Attempts     int
	// Err is the handler's last error; a [PanicError] where it panicked.
	Err error
}

func (e *HandlerError) Error() string {
	return fmt.Sprintf("subscription %q: event %s (version %d of stream %q) failed %d times: %s", clip(e.Subscription), e.EventID, e.Version, clip(e.Stream), e.Attempts, e.Err)
}

// Unwrap returns the handler's last error. One that matches a context's error
// keeps that to itself, so that a failure is not taken for a clean stop.
func (e *HandlerError) Unwrap() error {
	if isContextError(e.Err) {
		return opaque{e.Err}
	}
	return e.Err
}

// PanicError is the panic of a handler, or of what runs beside it: the keeper of
// checkpoints and a tracer.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panicked: %v", e.Value) }

const (
	maxConcurrency = 1024
	leastLease     = 100 * time.Millisecond
)

// checkSubscription checks a subscription and fills in its defaults.
func (s *Store) checkSubscription(ctx context.Context, sub Subscription) (Subscription, error) {
	if err := s.checkCheckpointName(ctx, sub.Name); err != nil {
		return sub, err
	}
	switch {
	case sub.Handler == nil && sub.HandleBatch == nil:
		return sub, invalid("handler", "it is nil; give the function that handles an event, or HandleBatch")
	case sub.Handler != nil && sub.HandleBatch != nil:
		return sub, invalid("handler", "there is HandleBatch too; give one of them")
	case sub.HandleBatch == nil && sub.BatchSaves:
		return sub, invalid("batch saves", "it is set without HandleBatch; leave it out with Handler")
	case sub.Checkpoints == nil && sub.BatchSaves:
		return sub, invalid("batch saves", "it is set without Checkpoints; give those that HandleBatch saves, in its own transaction")
	case sub.HandleBatch != nil && sub.Concurrency > 1:
		return sub, invalid("concurrency", "%d with HandleBatch, which is called with one batch at a time; give Handler, or no concurrency", sub.Concurrency)
	case sub.Concurrency > maxConcurrency:
		return sub, invalid("concurrency", "%d, limit %d; more handlers at once need another process and name", sub.Concurrency, maxConcurrency)
	case sub.LeaseTTL > 0 && sub.LeaseTTL < leastLease:
		return sub, invalid("lease TTL", "%s is shorter than %s; a lease is renewed every third of it", sub.LeaseTTL, leastLease)
	case sub.CheckpointEvery < 0, sub.CheckpointInterval < 0, sub.LeaseTTL < 0, sub.Concurrency < 0,
		sub.Retry.Attempts < 0, sub.Retry.Pause < 0, sub.Retry.MaxPause < 0:
		return sub, invalid("subscription", "a number or duration is negative; zero means the default")
	}
	if sub.ParkStream != "" {
		if err := s.checkName("park stream", sub.ParkStream, s.limits.MaxStreamBytes); err != nil {
			return sub, err
		}
	}
	if err := s.checkFilter(sub.Filter); err != nil {
		return sub, err
	}
	if sub.Checkpoints == nil {
		own, err := s.checkpoints()
		if err != nil {
			return sub, err
		}
		sub.Checkpoints = own
	}
	sub.Filter = sub.Filter.clone()
	sub.Concurrency = cmp.Or(sub.Concurrency, 1)
	sub.CheckpointEvery = cmp.Or(sub.CheckpointEvery, 100)
	sub.CheckpointInterval = cmp.Or(sub.CheckpointInterval, time.Second)
	sub.LeaseTTL = cmp.Or(sub.LeaseTTL, 15*time.Second)
	sub.Retry.Attempts = cmp.Or(sub.Retry.Attempts, 5)
	sub.Retry.Pause = cmp.Or(sub.Retry.Pause, 100*time.Millisecond)
	sub.Retry.MaxPause = cmp.Or(sub.Retry.MaxPause, 10*time.Second)
	return sub, nil
}
