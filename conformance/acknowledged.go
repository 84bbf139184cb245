package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of promises 7 and 8: what a caller is told about an append is true, and
// stays true.
func acknowledgedChecks() []Check {
	return []Check{
		{
			Name: "append/acknowledged-is-in-every-later-read", Promise: 7, Core: true, Needs: NeedsOpenAgain,
			Sentence: "After success the events are in every later read, from any handle.",
			Run:      appendAcknowledged,
		},
		{
			Name: "append/acknowledged-survives-reopening", Promise: 7, Core: true, Needs: NeedsOpenAgain,
			Sentence: "After success the events are there when the application starts again.",
			Requires: durable, Disk: true,
			Run: func(ctx context.Context, env *Env) error { return appendSurvives(ctx, env, env.Reopen) },
		},
		{
			Name: "append/acknowledged-survives-a-crash", Promise: 7, Needs: NeedsRestart,
			Sentence: "After success the events survive any crash that the backend claims to survive.",
			Requires: durable, Disk: true,
			Run: func(ctx context.Context, env *Env) error { return appendSurvives(ctx, env, env.Restart) },
		},
		{
			Name: "append/acknowledged-survives-a-crash-under-load", Promise: 7, Needs: NeedsRestart,
			Sentence: "What was acknowledged while the server crashed is there afterwards, what failed for certain is not, and what is unknown is there whole or not at all.",
			Requires: durable, Disk: true,
			Run: appendSurvivesUnderLoad,
		},
		{
			Name: "append/impatient-callers-learn-the-truth", Promise: 8, Core: true, Needs: NeedsOpenAgain,
			Sentence: "A definite error means nothing was written and nothing will be; what cannot be known is ErrUnknownOutcome, and appending again settles it. A caller who gives up harms no other.",
			Run:      appendImpatient,
		},
		{
			Name: "append/failed-events-are-still-new", Promise: 8, Core: true, Needs: NeedsOpenAgain,
			Sentence: "A definite error means nothing was written: the same events, appended again as they should be, are new.",
			Run:      appendFailedAgain,
		},
		{
			Name: "idempotency/store-settles-unknown-outcomes", Promise: 8, Core: true,
			Sentence: "After an unknown outcome the Store appends the same events again and promise 5 makes that exact.",
			Run:      storeSettles,
		},
	}
}

func appendAcknowledged(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("order")
	var events []eventstore.Event
	for i := range 20 {
		event := env.Event("Happened")
		result, err := stores[i%2].Append(ctx, stream, eventstore.Exactly(uint64(i)), event)
		if err != nil {
			return err
		}
		events = append(events, event)
		for _, reader := range stores {
			if err := expectEvents(ctx, reader, stream, events...); err != nil {
				return fmt.Errorf("after append %d was acknowledged: %w", i+1, err)
			}
			info, err := whereItIs(ctx, reader)
			if err != nil {
				return err
			}
			if env.Caps.GlobalOrder.Supported() && info.Head.Position != result.Position {
				return unexpected(fmt.Sprintf("the store's head after append %d was acknowledged", i+1), result.Position, info.Head)
			}
		}
	}
	return nil
}

func appendSurvives(ctx context.Context, env *Env, crash func(context.Context) error) error {
	stream := env.Stream("order")
	events := env.Events(20)
	for i := 0; i < len(events); i += 2 {
		if _, err := env.Store.Append(ctx, stream, eventstore.Exactly(uint64(i)), events[i:i+2]...); err != nil {
			return err
		}
	}
	before, err := whereItIs(ctx, env.Store)
	if err != nil {
		return err
	}
	if err := crash(ctx); err != nil {
		return err
	}
	if err := expectEvents(ctx, env.Store, stream, events...); err != nil {
		return err
	}
	if err := expectSameHead(ctx, env.Store, before); err != nil {
		return err
	}
	_, err = env.Store.Append(ctx, stream, eventstore.Exactly(20), env.Events(1)...)
	return err
}

// appendAttempt is an append and what its caller was told.
type appendAttempt struct {
	stream string
	events []eventstore.Event
	err    error
}

func (a appendAttempt) unknown() bool { return errors.Is(a.err, eventstore.ErrUnknownOutcome) }

// expectTruth holds what the caller was told against what the stream holds after
// the events that are certain to be there.
func (a appendAttempt) expectTruth(ctx context.Context, store *eventstore.Store, certain ...eventstore.Event) error {
	with := append(slices.Clone(certain), a.events...)
	var err error
	switch {
	case a.err == nil:
		err = expectEvents(ctx, store, a.stream, with...)
	case !a.unknown():
		err = expectEvents(ctx, store, a.stream, certain...)
	case expectEvents(ctx, store, a.stream, certain...) != nil:
		err = expectEvents(ctx, store, a.stream, with...)
	}
	if err != nil {
		return fmt.Errorf("after an append that returned %q: %w", fmt.Sprint(a.err), err)
	}
	return nil
}

// settle appends again what is unknown, and expects it to be there once.
func (a appendAttempt) settle(ctx context.Context, store *eventstore.Store, certain ...eventstore.Event) error {
	result, err := store.Append(ctx, a.stream, eventstore.Exactly(uint64(len(certain))), a.events...)
	if err != nil {
		return fmt.Errorf("append again after %w: %w", a.err, err)
	}
	first := uint64(len(certain)) + 1
	if last := first + uint64(len(a.events)) - 1; firstVersion(result) != first || result.Version != last {
		return unexpected("the append that settles an unknown outcome", fmt.Sprintf("versions %d to %d", first, last), result)
	}
	return expectEvents(ctx, store, a.stream, append(slices.Clone(certain), a.events...)...)
}

// appendSurvivesUnderLoad has eight writers append, each to a stream of its own,
// until the server is gone or back again.
func appendSurvivesUnderLoad(ctx context.Context, env *Env) error {
	const writers = 8
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	var stop atomic.Bool
	var acknowledged atomic.Int64
	certain := make([][]eventstore.Event, writers)
	last := make([]appendAttempt, writers) // the one that ended the writer
	for i := range last {
		last[i].stream = env.Stream("order")
	}
	ended := make(chan error, 1)
	go func() {
		ended <- race(writers, func(i int) error {
			for !stop.Load() {
				events := env.Events(2)
				_, last[i].err = stores[i%2].Append(ctx, last[i].stream, eventstore.Exactly(uint64(len(certain[i]))), events...)
				if last[i].err != nil {
					last[i].events = events
					break
				}
				certain[i] = append(certain[i], events...)
				acknowledged.Add(1)
			}
			return nil
		})
	}()
	err = eventually(ctx, "eight writers to be under way", func() (bool, error) { return acknowledged.Load() >= 5*writers, nil })
	if err == nil {
		err = env.Restart(ctx)
	}
	stop.Store(true)
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	for i, attempt := range last {
		if attempt.err == nil {
			err = expectEvents(ctx, env.Store, attempt.stream, certain[i]...)
		} else if err = attempt.expectTruth(ctx, env.Store, certain[i]...); err == nil {
			err = attempt.settle(ctx, env.Store, certain[i]...)
		}
		if err != nil {
			return fmt.Errorf("writer %d, which had %d events acknowledged: %w", i+1, len(certain[i]), err)
		}
	}
	return nil
}

// appendFailedAgain catches a backend that remembers the IDs of what it refused.
func appendFailedAgain(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream, stored, events := env.Stream("order"), env.Events(1), env.Events(3)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), stored...); err != nil {
		return err
	}
	_, err = stores[0].Append(ctx, stream, eventstore.NoStream(), events...)
	if err := expectConflict("a batch at a wrong version", err, stream, eventstore.NoStream(), 1); err != nil {
		return err
	}
	_, err = stores[1].Append(ctx, stream, eventstore.Any(), append(slices.Clone(events), stored...)...)
	if err := expectError("a batch whose last event is stored already", err, eventstore.ErrEventIDReused); err != nil {
		return err
	}
	for i, event := range events {
		version := uint64(i) + 2
		result, err := stores[i%2].Append(ctx, stream, eventstore.Exactly(version-1), event)
		if err != nil {
			return fmt.Errorf("append an event of the failed batches by itself: %w", err)
		}
		if err := expectResult("an event of the failed batches by itself", result, version, version); err != nil {
			return err
		}
	}
	return expectEvents(ctx, env.Store, stream, append(stored, events...)...)
}

// appendImpatient cuts every other append of eight writers short at a random
// moment, and holds what each caller was told against what is stored.
func appendImpatient(ctx context.Context, env *Env) error {
	const writers, appends = 8, 20
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	attempts := make([][]appendAttempt, writers)
	moments := make([][]float64, writers) // of the cuts, as parts of what an append takes
	for i := range writers {
		attempts[i] = make([]appendAttempt, appends)
		for range appends {
			moments[i] = append(moments[i], 2*env.Rand.Float64())
		}
	}
	err = race(writers, func(i int) error {
		usual := time.Duration(0) // what the last append took that was not cut
		for n := range attempts[i] {
			a := &attempts[i][n]
			a.stream, a.events = env.Stream("order"), env.Events(3)
			if n%2 == 0 {
				start := time.Now()
				if _, err := stores[i%2].Append(ctx, a.stream, eventstore.NoStream(), a.events...); err != nil {
					return fmt.Errorf("a patient caller beside impatient ones: %w", err)
				}
				usual = time.Since(start)
				continue
			}
			short, cancel := context.WithTimeout(ctx, time.Duration(moments[i][n]*float64(usual)))
			_, a.err = stores[i%2].Append(short, a.stream, eventstore.NoStream(), a.events...)
			cancel()
			if a.err != nil && !a.unknown() && !errors.Is(a.err, context.DeadlineExceeded) {
				return unexpected("an append cut short by its deadline", "the context's error or ErrUnknownOutcome", a.err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Only now, so that what is written late is found too.
	for i, a := range slices.Concat(attempts...) {
		if err := a.expectTruth(ctx, stores[i%2]); err != nil {
			return err
		}
		if a.err != nil {
			if err := a.settle(ctx, stores[(i+1)%2]); err != nil {
				return err
			}
		}
	}
	return nil
}

// usualAppend is the time that an append takes here when it is alone: the
// shortest of a few, for the first one may have to connect.
func usualAppend(ctx context.Context, env *Env) (time.Duration, error) {
	shortest := time.Second
	for range 5 {
		start := time.Now()
		if _, err := env.Store.Append(ctx, env.Stream("warm"), eventstore.NoStream(), env.Events(3)...); err != nil {
			return 0, err
		}
		shortest = min(shortest, time.Since(start))
	}
	return max(shortest, 50*time.Microsecond), nil
}

// unreliable loses the answer of every other append, after or before it was made.
type unreliable struct {
	eventstore.Backend
	calls atomic.Int64
}

func (u *unreliable) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	lost := fmt.Errorf("%w: the answer was lost", eventstore.ErrUnknownOutcome)
	switch u.calls.Add(1) % 4 {
	case 1: // written, but nobody hears of it
		if _, err := u.Backend.Append(ctx, req); err != nil {
			return nil, err
		}
		return nil, lost
	case 3: // not written
		return nil, lost
	}
	return u.Backend.Append(ctx, req)
}

func (u *unreliable) Close() error { return nil } // the fixture's backend stays open

func storeSettles(ctx context.Context, env *Env) error {
	store, err := env.NewStore(&unreliable{Backend: env.Fixture.Backend}, eventstore.Options{RetryFor: grace})
	if err != nil {
		return err
	}
	stream := env.Stream("order")
	var all []eventstore.Event
	for version := uint64(0); version < 12; version += 2 {
		events := env.Events(2)
		events[1].ID = uuid.Nil // the Store's own ID must serve as well
		result, err := store.Append(ctx, stream, eventstore.Exactly(version), events...)
		if err != nil {
			return fmt.Errorf("an append whose first answer was lost: %w", err)
		}
		if stored := version%4 == 0; firstVersion(result) != version+1 || result.Version != version+2 || result.Duplicate != stored {
			return unexpected("an append whose first answer was lost", fmt.Sprintf("versions %d and %d, Duplicate %t", version+1, version+2, stored), result)
		}
		stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{After: version + 1}))
		if err != nil {
			return err
		}
		if len(stored) != 1 {
			return unexpected("events after the first of an append of two", 1, len(stored))
		}
		events[1].ID = stored[0].ID
		all = append(all, events...)
	}
	return expectEvents(ctx, env.Store, stream, all...)
}
