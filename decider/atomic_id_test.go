package decider_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestTheVersionOfAStreamIsForReading(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	w.give(t, "account-a", 100)
	_, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: decider.Retry{Attempts: 1}}, func(tx *decider.Tx) error {
		s, err := w.here.In(tx, "account-a")
		require.NoError(t, err)
		w.give(t, "account-a", -100) // somebody is faster
		s.Version++                  // as if that had been seen
		s.Add(Withdrawn{100})
		return nil
	})
	require.ErrorIs(t, err, eventstore.ErrConflict)
}

func TestAnErrorOfInKeepsWhatDecideSaysOfIt(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	w.spy.read = func(eventstore.ReadStreamRequest) error { return errors.New("down") }
	_, err := decider.Atomically(t.Context(), w.store, nil, func(tx *decider.Tx) error {
		_, err := w.here.In(tx, "account-a")
		return fmt.Errorf("load the account: %w", err)
	})
	require.ErrorContains(t, err, "load the account: ")
	_, err = decider.Atomically(t.Context(), w.store, nil, func(tx *decider.Tx) error {
		_, _ = w.here.In(tx, "account-a")
		return errPoor // decided on nothing
	})
	require.ErrorContains(t, err, "down")
	_, err = decider.Atomically(t.Context(), w.store, nil, func(tx *decider.Tx) error {
		_, _ = w.here.In(tx, "account-a")
		_, _ = w.others.In(tx, "account-b") // which is another error
		return nil
	})
	require.ErrorContains(t, err, "down", "the first")
}

// The same command is done at once, and decides more, less or the same.
func TestARepetitionAtTheSameTimeIsAnsweredWithAllOfTheFirstEvents(t *testing.T) {
	for _, first := range [][]int64{{1}, {1, 2}, {5}} {
		for _, attempts := range []int{1, 10} {
			t.Run(fmt.Sprintf("%v in %d attempts", first, attempts), func(t *testing.T) {
				w := newWorld(t, decider.Options{}, nil)
				opts := &decider.AtomicOptions{ID: uuid.New(), Retry: decider.Retry{Attempts: attempts}}
				paying := func(cents []int64, before func()) func(*decider.Tx) error {
					return func(tx *decider.Tx) error {
						s, err := w.here.In(tx, "account-a")
						if err != nil {
							return err
						}
						before()
						events, _ := pay(cents...)(s.State)
						s.Add(events...)
						return nil
					}
				}
				done := false
				results, err := decider.Atomically(t.Context(), w.store, opts, paying([]int64{1}, func() {
					if !done {
						done = true
						_, err := decider.Atomically(t.Context(), w.store, opts, paying(first, func() {}))
						require.NoError(t, err)
					}
				}))
				require.NoError(t, err)
				require.Len(t, results, 1)
				require.True(t, results[0].Duplicate)
				require.Len(t, results[0].Events, len(first))
				require.Equal(t, uint64(len(first)), results[0].Version)
			})
		}
	}
}

func TestALostAnswerThatTheStoreSettlesCostsNoAttempt(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	store := newStore(t, w.spy, nil) // which tries again
	d := accounts(t, store, nil)
	w.give(t, "account-a", 10)
	w.spy.nextAppend(w.spy.answerLost)
	results, err := decider.Atomically(t.Context(), store, &decider.AtomicOptions{ID: uuid.New(), Retry: decider.Retry{Attempts: 1}}, transfer(d, 10))
	require.NoError(t, err)
	require.Len(t, results, 2)
	require.Equal(t, [2]Account{{0, 2}, {10, 1}}, w.balances(t))
}

func TestMoreStreamsThanAnAppendHasPartsAreRefusedBeforeIt(t *testing.T) {
	for name, c := range map[string]struct {
		id     uuid.UUID
		atMost int
		text   string
	}{
		"with an ID, half as many":  {uuid.New(), 32, "it loaded 33 streams, and 33 of them get events: 66 parts of an append, limit 64 (with an ID each of these takes two); load fewer, or decide in several transactions"},
		"without, as many as parts": {uuid.Nil, 64, "it loaded 65 streams, and 65 of them get events: 65 parts of an append, limit 64 (with an ID each of these takes two); load fewer, or decide in several transactions"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, decider.Options{}, nil)
			on := func(streams int, events ...Event) error {
				_, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{ID: c.id}, func(tx *decider.Tx) error {
					for i := range streams {
						s, err := w.here.In(tx, fmt.Sprintf("account-%d", i))
						if err != nil {
							return err
						}
						s.Add(events...)
					}
					return nil
				})
				return err
			}
			require.NoError(t, on(c.atMost+1), "what is only read is no append")
			var refused *eventstore.InvalidError
			require.ErrorAs(t, on(c.atMost+1, Paid{1}), &refused)
			require.Equal(t, eventstore.InvalidError{Field: "transaction", Reason: c.text}, *refused)
			_, appends := w.spy.counted()
			require.Empty(t, appends)
			require.NoError(t, on(c.atMost, Paid{1}))
		})
	}
}

func TestAKeyOfACauseMakesADecisionOnSeveralStreamsCountOnce(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	w.give(t, "account-a", 10)
	sub := decider.React("move", accountEvents(), func(ctx context.Context, cause *decider.Cause, _ Event) error {
		if cause.Version > 1 || cause.Stream != "account-a" {
			return nil
		}
		_, err := decider.Atomically(ctx, w.store, &decider.AtomicOptions{ID: cause.Key("move")}, transfer(w.here, 4))
		return err
	})
	for range 2 {
		require.NoError(t, react(t, w.store, sub))
		require.Equal(t, [2]Account{{6, 2}, {4, 1}}, w.balances(t))
		require.NoError(t, w.store.DeleteCheckpoint(t.Context(), "move"))
	}
}

// The events of a command may be out of a read's reach, as those that the stream's owner cut
// off are.
func TestEventsThatTheStoreHasAndNoReadFindsEndTheAttempts(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(parts []eventstore.StreamAppend) ([]eventstore.PartResult, error)
		want   error
		text   string
	}{
		"it has them": {func(parts []eventstore.StreamAppend) ([]eventstore.PartResult, error) {
			results := make([]eventstore.PartResult, len(parts))
			for i, part := range parts {
				results[i].Duplicate = len(part.Events) > 0
				results[i].Recorded = make([]eventstore.Recorded, len(part.Events))
			}
			return results, nil
		}, eventstore.ErrUnknownOutcome, "a read does not find them"},
		"it has others": {func([]eventstore.StreamAppend) ([]eventstore.PartResult, error) {
			return nil, &eventstore.EventIDReusedError{Stream: "account-a", Reason: "it was stored"}
		}, eventstore.ErrEventIDReused, "it was stored"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, decider.Options{}, nil)
			appends := 0
			w.spy.append = func(_ context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				appends++
				return c.answer(req.Parts)
			}
			_, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{ID: uuid.New(), Retry: decider.Retry{Attempts: 2, Pause: 1}}, func(tx *decider.Tx) error {
				p, err := in(w.here, tx)
				if err == nil {
					p.a.Add(Paid{1})
				}
				return err
			})
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
			require.Equal(t, 3, appends, "one more than the attempts: it might have been read")
		})
	}
}
