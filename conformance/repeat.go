package conformance

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// Checks of repetition that time and racers make hard.
func repeatChecks() []Check {
	checks := []Check{
		rests(Check{
			Name: "idempotency/after-a-rest", Promise: 5, Needs: NeedsOpenAgain,
			Sentence: "An event ID is recognised after time has passed, with and without other appends meanwhile, through any handle.",
			Run:      repeatedAfterRest,
		}),
		{
			Name: "idempotency/old-ids", Promise: 5, Core: true, Needs: NeedsOpenAgain,
			Sentence: "What time an event's ID or its record time tells does not matter: IDs of years ago and of years to come are recognised alike.",
			Run:      repeatedOldIDs,
		},
	}
	for _, racers := range []int{2, 8, 32} {
		checks = append(checks, Check{
			Name: fmt.Sprintf("idempotency/one-of-%d-identical-is-new", racers), Promise: 5, Core: true, Needs: NeedsOpenAgain,
			Sentence: "Of identical appends at once exactly one is no duplicate; all are told the same versions and position, and the events are stored once.",
			Run:      func(ctx context.Context, env *Env) error { return racingIdentical(ctx, env, racers) },
		})
	}
	return checks
}

func repeatedAfterRest(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	type kept struct {
		stream string
		events []eventstore.Event
		result eventstore.AppendResult
	}
	write := func(store *eventstore.Store, stream string, n int) (kept, error) {
		k := kept{stream: stream, events: env.Events(n)}
		k.result, err = store.Append(ctx, stream, eventstore.Any(), k.events...)
		return k, err
	}
	quiet, busy := env.Stream("Quiet"), env.Stream("Busy")
	var all []kept
	for i, stream := range []string{quiet, busy, quiet, busy} {
		k, err := write(stores[i%2], stream, 1+i)
		if err != nil {
			return err
		}
		all = append(all, k)
	}
	// One stream goes on, the other one does not.
	for began := time.Now(); time.Since(began) < env.Scale.Rest; {
		if err := sleep.For(ctx, env.Scale.Rest/10); err != nil {
			return err
		}
		if _, err := write(stores[1], busy, 1); err != nil {
			return err
		}
	}
	later, err := env.Again(ctx)
	if err != nil {
		return err
	}
	for _, store := range []*eventstore.Store{stores[0], stores[1], later} {
		for i, k := range all {
			if err := expectDuplicate(ctx, store, k.stream, []eventstore.ExpectedVersion{eventstore.NoStream(), eventstore.Any()}[i%2], k.result, k.events...); err != nil {
				return fmt.Errorf("%s later: %w", env.Scale.Rest, err)
			}
			_, err := store.Append(ctx, k.stream, eventstore.Any(), k.events[0], env.Event("Happened"))
			if err := expectError(fmt.Sprintf("an ID in another append, %s later", env.Scale.Rest), err, eventstore.ErrEventIDReused); err != nil {
				return err
			}
		}
	}
	return nil
}

// timedID is a version 7 UUID (RFC 9562) that was made at a time.
func timedID(env *Env, at time.Time) uuid.UUID {
	id := env.ID()
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(at.UnixMilli()))
	copy(id[:6], millis[2:])
	id[6] = id[6]&0x0f | 0x70
	return id
}

func repeatedOldIDs(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	now := time.Now()
	for i, at := range []time.Time{
		time.UnixMilli(0), time.UnixMilli(1), now.AddDate(-20, 0, 0), now.AddDate(0, 0, -2), now.Add(-time.Hour), now.Add(-time.Minute),
		now, now.Add(time.Hour), now.AddDate(1, 0, 0), time.UnixMilli(1<<47 + 5), time.UnixMilli(1<<48 - 1),
	} {
		stream, events := env.Stream("Order"), env.Events(3)
		for j := range events {
			events[j].ID = timedID(env, at)
		}
		one := part(stream, eventstore.NoStream(), events...)
		if env.Caps.PreservedRecordTime.Supported() && at.Before(now) {
			one.RecordedAt = new(at.Add(time.Second))
		}
		first, err := stores[i%2].AppendStreams(ctx, one)
		if err != nil {
			return err
		}
		for _, store := range stores {
			if err := expectDuplicate(ctx, store, stream, eventstore.NoStream(), first[0], events...); err != nil {
				return fmt.Errorf("IDs made at %s: %w", at, err)
			}
			later := env.Event("Happened")
			_, err := store.Append(ctx, stream, eventstore.Any(), later, events[2])
			if err := expectError(fmt.Sprintf("an ID made at %s in another append", at), err, eventstore.ErrEventIDReused); err != nil {
				return err
			}
		}
		if err := expectEvents(ctx, env.Store, stream, events...); err != nil {
			return err
		}
	}
	return nil
}

func racingIdentical(ctx context.Context, env *Env, racers int) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for round := range max(6, 96/racers) {
		stream := env.Stream("Order")
		before := 0
		if round%2 == 1 {
			before = 2
			if _, err := env.Fill(ctx, stream, before, before); err != nil {
				return err
			}
		}
		events := env.Events([]int{1, 3, 64}[round%3])
		expected := []eventstore.ExpectedVersion{eventstore.Any(), eventstore.Exactly(uint64(before))}[round/2%2]
		results := make([]eventstore.AppendResult, racers)
		var fresh atomic.Int64
		err := race(racers, func(i int) error {
			var err error
			results[i], err = stores[i%2].Append(ctx, stream, expected, events...)
			if err == nil && !results[i].Duplicate {
				fresh.Add(1)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("one of %d identical appends of %d events: %w", racers, len(events), err)
		}
		if fresh.Load() != 1 {
			return unexpected(fmt.Sprintf("results without Duplicate of %d identical appends of %d events", racers, len(events)), 1, fresh.Load())
		}
		for _, result := range results {
			if !sameResult(duplicateOf(result), duplicateOf(results[0])) {
				return unexpected("results of identical appends", describeResult(results[0])+", Duplicate apart", describeResult(result))
			}
		}
		stored, err := collect(stores[round%2].ReadStream(ctx, stream, eventstore.ReadOptions{After: uint64(before)}))
		if err != nil {
			return err
		}
		if len(stored) != len(events) {
			return unexpected(fmt.Sprintf("events of %d identical appends", racers), len(events), len(stored))
		}
		for i, got := range stored {
			if err := expectEvent(got, stream, uint64(before+i)+1, events[i]); err != nil {
				return err
			}
		}
		last := stored[len(stored)-1]
		if firstVersion(results[0]) != uint64(before)+1 || results[0].Version != last.Version || results[0].Position != last.Position {
			return unexpected("what identical appends were told", describeRecord(last), fmt.Sprintf("%+v", results[0]))
		}
	}
	return nil
}
