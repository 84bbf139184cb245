package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// cancelDuringAppend lets appends and the ends of their contexts race many
// times, and holds what each caller was told against the data: at once, when all
// are over, and on every handle.
func cancelDuringAppend(ctx context.Context, env *Env) error {
	const appends = 120
	usual, err := usualAppend(ctx, env)
	if err != nil {
		return err
	}
	attempts := make([]appendAttempt, appends)
	for i := range attempts {
		a := &attempts[i]
		a.stream, a.events = env.Stream("Order"), env.Events(3)
		// Ends are spread over twice the time that an append takes, so that some
		// come before, some during and some after the write.
		patience := time.Duration(env.Rand.Int64N(int64(2 * usual)))
		cancelled := i%2 == 0
		what := fmt.Sprintf("append %d, whose context ends after %s", i+1, patience)
		var late error
		a.err, late = returnsPromptly(what, func() error {
			limited, cancel := impatient(ctx, cancelled, patience)
			defer cancel()
			_, err := env.Store.Append(limited, a.stream, eventstore.NoStream(), a.events...)
			return err
		})
		if late != nil {
			return late
		}
		want := context.DeadlineExceeded
		if cancelled {
			want = context.Canceled
		}
		if a.err != nil && !a.unknown() && !errors.Is(a.err, want) {
			return unexpected(what, fmt.Sprintf("no error, %q or %q", want, eventstore.ErrUnknownOutcome), fmt.Sprintf("%q", a.err))
		}
		if err := a.expectTruth(ctx, env.Store); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	readers := []*eventstore.Store{env.Store}
	if env.Fixture.OpenAgain != nil {
		again, err := env.Again(ctx)
		if err != nil {
			return err
		}
		readers = append(readers, again)
	}
	for i, a := range attempts {
		for _, reader := range readers {
			if err := a.expectTruth(ctx, reader); err != nil {
				return fmt.Errorf("append %d, when all are over: %w", i+1, err)
			}
		}
		if err := a.settle(ctx, env.Store); err != nil {
			return fmt.Errorf("append %d: %w", i+1, err)
		}
	}
	return nil
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
