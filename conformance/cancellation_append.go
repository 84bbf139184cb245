package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// An append and its context race here many times, and what came back is held
// against the data.

const cancelledAppends = 120

// cutAppend is an append whose context ended at about its own end.
type cutAppend struct {
	stream string
	events []eventstore.Event
	err    error
}

func cancelDuringAppend(ctx context.Context, env *Env) error {
	usual, err := appendTime(ctx, env)
	if err != nil {
		return err
	}
	cuts := make([]cutAppend, cancelledAppends)
	for i := range cuts {
		a := cutAppend{stream: env.Stream("Order"), events: env.Events(3)}
		// Ends are spread over twice the time that an append takes, so that some
		// come before, some during and some after the write.
		patience := time.Duration(env.Rand.Int64N(int64(2 * usual)))
		what := fmt.Sprintf("append %d, whose context ends after %s", i+1, patience)
		err, late := returnsAtOnce(what, func() error {
			limited, cancel := impatient(ctx, i%2 == 0, patience)
			defer cancel()
			_, err := env.Store.Append(limited, a.stream, eventstore.NoStream(), a.events...)
			return err
		})
		want := context.DeadlineExceeded
		if i%2 == 0 {
			want = context.Canceled
		}
		if late != nil {
			return late
		}
		if err != nil && !errors.Is(err, want) && !errors.Is(err, eventstore.ErrUnknownOutcome) {
			return unexpected(what, fmt.Sprintf("no error, %q or %q", want, eventstore.ErrUnknownOutcome), fmt.Sprintf("%q", err))
		}
		a.err = err
		cuts[i] = a
		if err := a.expectAgreement(ctx, env.Store); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	// Whoever was told that nothing will be written must still be right after
	// later appends, and on another handle.
	readers := []*eventstore.Store{env.Store}
	if env.Fixture.OpenAgain != nil {
		again, err := env.Again(ctx)
		if err != nil {
			return err
		}
		readers = append(readers, again)
	}
	for i, a := range cuts {
		for _, reader := range readers {
			if err := a.expectAgreement(ctx, reader); err != nil {
				return fmt.Errorf("append %d, when all are over: %w", i+1, err)
			}
		}
		if err := a.settle(ctx, env.Store); err != nil {
			return fmt.Errorf("append %d: %w", i+1, err)
		}
	}
	return nil
}

// appendTime is how long an append takes here: the longest of a few.
func appendTime(ctx context.Context, env *Env) (time.Duration, error) {
	longest := time.Microsecond
	for range 5 {
		start := time.Now()
		if _, err := env.Store.Append(ctx, env.Stream("Warm"), eventstore.NoStream(), env.Events(3)...); err != nil {
			return 0, err
		}
		longest = max(longest, time.Since(start))
	}
	return min(longest, time.Second), nil
}

// impatient returns a context that is cancelled, or reaches its deadline, after
// so long.
func impatient(ctx context.Context, cancelled bool, patience time.Duration) (context.Context, func()) {
	if !cancelled {
		return context.WithTimeout(ctx, patience)
	}
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(patience, cancel)
	return ctx, func() {
		timer.Stop()
		cancel()
	}
}

// expectAgreement holds the outcome against the data.
func (a cutAppend) expectAgreement(ctx context.Context, store *eventstore.Store) error {
	stored, err := collect(store.ReadStream(ctx, a.stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	switch {
	case a.err == nil:
		return expectEvents(ctx, store, a.stream, a.events...)
	case !errors.Is(a.err, eventstore.ErrUnknownOutcome) && len(stored) > 0:
		return unexpected(fmt.Sprintf("stream %q after the definite error %q", a.stream, a.err), "no events", len(stored))
	case len(stored) > 0: // unknown, and stored by now
		return expectEvents(ctx, store, a.stream, a.events...)
	}
	return nil
}

// settle appends again, which must store the events once whatever came before.
func (a cutAppend) settle(ctx context.Context, store *eventstore.Store) error {
	if _, err := store.Append(ctx, a.stream, eventstore.NoStream(), a.events...); err != nil {
		return fmt.Errorf("append the same events again after %v: %w", a.err, err)
	}
	return expectEvents(ctx, store, a.stream, a.events...)
}
