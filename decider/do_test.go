package decider_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// before lets others decide between this process's reads and its next append.
func (w *world) before(t *testing.T, decide decision) {
	w.spy.nextAppend(func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		transact(t, w.others, decide)
		return w.spy.Backend.Append(ctx, req)
	})
}

// always has others pay before each of this process's appends.
func (w *world) always(t *testing.T) {
	w.spy.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		transact(t, w.others, pay(1))
		return w.spy.Backend.Append(ctx, req)
	}
}

func TestAConflictDecidesAnewOnTheNewerState(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	transact(t, w.others, pay(10))
	w.before(t, withdraw(8))
	_, err := w.here.Transact(t.Context(), stream, withdraw(8))
	require.Equal(t, errPoor, err)
	w.before(t, pay(8))
	res := transact(t, w.here, withdraw(1))
	require.Equal(t, Account{9, 4}, res.State)
	require.Equal(t, 2, res.Attempts)
	w.spy.since()
	w.before(t, pay(1))
	transact(t, w.here, withdraw(1))
	reads, _ := w.spy.counted()
	require.Len(t, reads, 2)
	require.Equal(t, uint64(4), reads[1].After, "it reads what is new only")
}

func TestConflictsEndAfterTheAttempts(t *testing.T) {
	w := newWorld(t, decider.Options{Retry: decider.Retry{Attempts: 3, MaxPause: time.Microsecond}}, nil)
	w.always(t)
	decided := 0
	_, err := w.here.Transact(t.Context(), stream, func(Account) ([]Event, error) {
		decided++
		return []Event{Paid{100}}, nil
	})
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.ErrorContains(t, err, "overtaken 3 times")
	require.Equal(t, 3, decided)
	state, _, err := w.here.Load(t.Context(), stream)
	require.NoError(t, err)
	require.Equal(t, Account{3, 3}, state, "nothing is written")
}

func TestTheLastConflictIsNotWaitedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, id := range []uuid.UUID{uuid.Nil, uuid.New()} {
			w := newWorld(t, decider.Options{Retry: decider.Retry{Attempts: 1, Pause: time.Hour, MaxPause: time.Hour}}, nil)
			w.always(t)
			began := time.Now()
			_, err := w.here.Do(t.Context(), decider.Command{Stream: stream, ID: id}, pay(1))
			require.ErrorIs(t, err, eventstore.ErrConflict)
			require.Zero(t, time.Since(began))
		}
	})
}

func TestAReadThatFailsAfterTheLastConflictHidesItNot(t *testing.T) {
	for _, id := range []uuid.UUID{uuid.Nil, uuid.New()} {
		w := newWorld(t, decider.Options{Retry: decider.Retry{Attempts: 1}}, nil)
		w.spy.nextAppend(func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			transact(t, w.others, pay(1))
			w.spy.read = func(eventstore.ReadStreamRequest) error { return eventstore.ErrUnavailable }
			return w.spy.Backend.Append(ctx, req)
		})
		_, err := w.here.Do(t.Context(), decider.Command{Stream: stream, ID: id}, pay(1))
		require.ErrorIs(t, err, eventstore.ErrConflict)
	}
}

// A store that remembers IDs for a while only may answer a repetition with a conflict.
func TestARepetitionIsFoundAfterTheLastConflict(t *testing.T) {
	for name, reads := range map[string]bool{"": true, "and a read that fails": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, decider.Options{Retry: decider.Retry{Attempts: 1}}, nil)
			cmd := decider.Command{Stream: stream, ID: uuid.New()}
			w.spy.nextAppend(func(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				do(t, w.others, cmd, pay(5))
				if !reads {
					_, err := newStore(t, w.spy.Backend, nil).Append(t.Context(), stream, eventstore.Any(), eventstore.Event{Type: "Frozen", Data: []byte("{}")})
					require.NoError(t, err)
				}
				return nil, &eventstore.ConflictError{Stream: stream, Expected: eventstore.Exactly(0), Actual: 1}
			})
			res, err := w.here.Do(t.Context(), cmd, pay(5))
			if !reads {
				require.ErrorIs(t, err, eventstore.ErrUnknownOutcome, "its events are there, and not to be read to the end")
				return
			}
			require.NoError(t, err)
			require.True(t, res.Duplicate)
			require.Equal(t, Account{5, 1}, res.State)
		})
	}
}

func TestTheDefaultIsTenAttempts(t *testing.T) {
	w := newWorld(t, decider.Options{Retry: decider.Retry{Pause: 1, MaxPause: 1}}, nil)
	w.always(t)
	_, err := w.here.Transact(t.Context(), stream, pay(1))
	require.ErrorContains(t, err, "overtaken 10 times")
	defaults, err := decider.Defaults()
	require.NoError(t, err)
	require.Equal(t, decider.Retry{Attempts: 10, Pause: 2 * time.Millisecond, MaxPause: 250 * time.Millisecond}, defaults)
}

func TestAContextThatEndsDuringAPauseIsNoConflict(t *testing.T) {
	retry := decider.Retry{Pause: time.Hour, MaxPause: time.Hour}
	for name, call := range map[string]func(ctx context.Context, w *world) error{
		"Do": func(ctx context.Context, w *world) error {
			_, err := w.here.Transact(ctx, stream, pay(1))
			return err
		},
		"Atomically": func(ctx context.Context, w *world) error {
			_, err := decider.Atomically(ctx, w.store, &decider.AtomicOptions{Retry: retry}, func(tx *decider.Tx) error {
				s, err := w.here.In(tx, stream)
				if err == nil {
					s.Add(Paid{1})
				}
				return err
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // where an hour is no time, if it is waited for
				w := newWorld(t, decider.Options{Retry: retry}, nil)
				ctx, cancel := context.WithCancel(t.Context())
				w.spy.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
					transact(t, w.others, pay(1))
					defer cancel()
					return w.spy.Backend.Append(context.WithoutCancel(ctx), req)
				}
				err := call(ctx, w)
				require.ErrorIs(t, err, context.Canceled)
				require.NotErrorIs(t, err, eventstore.ErrConflict)
				require.ErrorContains(t, err, "version conflict", "its text says what it waited for")
			})
		})
	}
}

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	retry := decider.Retry{Pause: 2 * time.Millisecond, MaxPause: 7 * time.Millisecond}
	var longest []time.Duration
	for n := range 4 {
		longest = append(longest, decider.LongestPause(retry, n+1))
	}
	require.Equal(t, []time.Duration{2 * time.Millisecond, 4 * time.Millisecond, 7 * time.Millisecond, 7 * time.Millisecond}, longest)
	huge := decider.Retry{Pause: 1 << 62, MaxPause: 1<<63 - 1}
	require.Positive(t, decider.LongestPause(huge, 5))
}

func TestADemandedVersionIsHeldToBeforeTheDecision(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	transact(t, w.here, pay(1)) // in the cache
	transact(t, w.others, pay(1))
	_, err := w.here.Do(t.Context(), decider.Command{Stream: stream, Expected: eventstore.Exactly(1)}, func(Account) ([]Event, error) {
		t.Error("it decides")
		return nil, nil
	})
	var conflict *eventstore.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, eventstore.ConflictError{Stream: stream, Expected: eventstore.Exactly(1), Actual: 2}, *conflict)
	res := do(t, w.here, decider.Command{Stream: stream, Expected: eventstore.Exactly(2)}, pay(1))
	require.Equal(t, uint64(3), res.Version)
	require.Equal(t, 1, res.Attempts)
}

func TestAConflictOfADemandedVersionIsNotTriedAgain(t *testing.T) {
	for name, expected := range map[string]eventstore.ExpectedVersion{
		"exactly": eventstore.Exactly(1), "exists": eventstore.StreamExists(), "any": eventstore.Any(),
	} {
		t.Run(name, func(t *testing.T) {
			for _, id := range []uuid.UUID{uuid.Nil, uuid.New()} {
				w := newWorld(t, decider.Options{}, nil)
				transact(t, w.others, pay(1))
				w.before(t, pay(1))
				decided := 0
				_, err := w.here.Do(t.Context(), decider.Command{Stream: stream, Expected: expected, ID: id}, func(Account) ([]Event, error) {
					decided++
					return []Event{Paid{1}}, nil
				})
				require.ErrorIs(t, err, eventstore.ErrConflict)
				require.Equal(t, 1, decided)
			}
		})
	}
}

func TestARepetitionHasMetItsDemandWhenItWasDone(t *testing.T) {
	for name, opts := range map[string]decider.Options{
		"plain":     {},
		"cache":     {CacheSize: 10},
		"snapshots": {Snapshots: &decider.Snapshots{Type: "Account", Every: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, opts, nil)
			cmd := decider.Command{Stream: stream, ID: uuid.New(), Expected: eventstore.NoStream()}
			first := do(t, w.here, cmd, pay(1))
			transact(t, w.here, pay(1))
			again := do(t, w.here, cmd, pay(1))
			require.True(t, again.Duplicate)
			require.Equal(t, first.Events, again.Events)
		})
	}
}

func TestALostAnswerIsSettledAndCountsOnce(t *testing.T) {
	for _, id := range []uuid.UUID{uuid.Nil, uuid.New()} {
		w := newWorld(t, decider.Options{CacheSize: 1}, nil)
		store := newStore(t, w.spy, nil) // which tries again
		d := accounts(t, store, nil)
		w.spy.nextAppend(func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			return w.spy.answerLost(ctx, req)
		})
		res := do(t, d, decider.Command{Stream: stream, ID: id}, pay(1, 2))
		require.True(t, res.Duplicate)
		require.Equal(t, Account{3, 2}, res.State)
		require.Equal(t, uint64(2), res.Version)
		require.Len(t, res.Events, 2)
	}
}

func TestAnUnknownOutcomeIsNeverDecidedAgain(t *testing.T) {
	for _, stored := range []bool{false, true} {
		w := newWorld(t, decider.Options{CacheSize: 1}, nil) // whose store does not try again
		transact(t, w.here, pay(1))
		w.spy.nextAppend(func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if stored {
				return w.spy.answerLost(ctx, req)
			}
			return nil, eventstore.ErrUnknownOutcome
		})
		decided := 0
		cmd := decider.Command{Stream: stream, ID: uuid.New()}
		payOnce := func(Account) ([]Event, error) {
			decided++
			return []Event{Paid{1}}, nil
		}
		_, err := w.here.Do(t.Context(), cmd, payOnce)
		var unknown *eventstore.UnknownOutcomeError
		require.ErrorAs(t, err, &unknown)
		require.Equal(t, 1, decided)
		require.Len(t, unknown.Parts[0].Events, 1)

		res := do(t, w.here, cmd, payOnce) // with an ID: do it again
		require.Equal(t, Account{2, 2}, res.State, "stored: %t", stored)
		require.Equal(t, stored, res.Duplicate)
		require.Equal(t, unknown.Parts[0].Events[0].ID, res.Events[0].ID)
	}
}

func TestAnUnknownOutcomeWithoutAnIDIsSettledByItsEvents(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	w.spy.nextAppend(w.spy.answerLost)
	_, err := w.here.Transact(t.Context(), stream, pay(1))
	var unknown *eventstore.UnknownOutcomeError
	require.ErrorAs(t, err, &unknown)
	results, err := w.store.AppendStreams(t.Context(), unknown.Parts...)
	require.NoError(t, err)
	require.True(t, results[0].Duplicate)
	state, _, err := w.here.Load(t.Context(), stream)
	require.NoError(t, err)
	require.Equal(t, Account{1, 1}, state)
}

// repetitions are ways in which a command comes again.
func TestARepeatedCommandIsAnsweredWithItsFirstEvents(t *testing.T) {
	snapshots := &decider.Snapshots{Type: "Account", Every: 1}
	for name, opts := range map[string]decider.Options{
		"plain":               {},
		"cache":               {CacheSize: 10},
		"snapshots":           {Snapshots: snapshots},
		"cache and snapshots": {CacheSize: 10, Snapshots: snapshots},
	} {
		for what, decide := range map[string]decision{
			"decides the same again": pay(5),
			"decides other events":   func(a Account) ([]Event, error) { return []Event{Paid{5 + a.Balance}}, nil },
			"decides more events":    func(a Account) ([]Event, error) { return make5(a.Events + 1), nil },
			"decides nothing now":    payUpTo(5),
			"refuses now":            refuseUnlessNew,
			"decides fewer events now": func(a Account) ([]Event, error) {
				return make5(max(1, 2-a.Events)), nil
			},
		} {
			for _, between := range []int{0, 1, 7} {
				t.Run(fmt.Sprintf("%s/%s/%d between", name, what, between), func(t *testing.T) {
					w := newWorld(t, opts, nil)
					cmd := decider.Command{Stream: stream, ID: uuid.New()}
					first := do(t, w.here, cmd, decide)
					for range between {
						transact(t, w.here, pay(1))
					}
					transact(t, w.others, pay(1)) // of which the cache knows nothing
					again := do(t, w.here, cmd, decide)
					require.True(t, again.Duplicate)
					require.Equal(t, first.Events, again.Events)
					require.Equal(t, first.Position, again.Position)
					now, version, err := w.others.Load(t.Context(), stream)
					require.NoError(t, err)
					require.Equal(t, now, again.State, "the state now")
					require.Equal(t, version, again.Version)
					require.Equal(t, first.State.Events+between+1, now.Events, "it counted once")
				})
			}
		}
	}
}

func make5(n int) []Event {
	var events []Event
	for range n {
		events = append(events, Paid{5})
	}
	return events
}

func refuseUnlessNew(a Account) ([]Event, error) {
	if a.Events > 0 {
		return nil, errPoor
	}
	return make5(2), nil
}

func TestARepetitionThatAnotherProcessDidIsFoundBehindAnOldCache(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	transact(t, w.here, pay(1))
	cmd := decider.Command{Stream: stream, ID: uuid.New()}
	first := do(t, w.others, cmd, pay(5))
	transact(t, w.others, pay(1))
	again := do(t, w.here, cmd, pay(5)) // the same events on the same version
	require.True(t, again.Duplicate)
	require.Equal(t, first.Events, again.Events)
	require.Equal(t, Account{7, 3}, again.State, "the state now, and not the one after the events")
	require.Equal(t, uint64(3), again.Version)
}

func TestARepetitionWhoseEventsWereCutOffIsAnsweredWithWhatTheStoreKnows(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	transact(t, w.others, pay(1))
	cmd := decider.Command{Stream: stream, ID: uuid.New()}
	w.spy.nextAppend(func(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		return []eventstore.PartResult{{Recorded: []eventstore.Recorded{{Version: 7}}, Duplicate: true}}, nil
	})
	res := do(t, w.here, cmd, pay(5))
	require.True(t, res.Duplicate)
	require.Equal(t, uint64(7), res.Events[0].Version)
	require.Equal(t, Account{1, 1}, res.State)
	w.spy.nextAppend(func(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		return nil, &eventstore.EventIDReusedError{Stream: stream, Reason: "it was stored"}
	})
	_, err := w.here.Do(t.Context(), cmd, pay(5))
	require.ErrorIs(t, err, eventstore.ErrEventIDReused)
}

func TestACommandCountsOnceOnEachStream(t *testing.T) {
	w := newWorld(t, decider.Options{}, func(c *eventstore.Capabilities) { c.StreamScopedIDs = eventstore.No("test") })
	seen := make(map[uuid.UUID]string)
	w.spy.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		for _, part := range req.Parts { // as a store does that takes an ID once
			for _, event := range part.Events {
				if other, used := seen[event.ID]; used && other != part.Stream {
					return nil, &eventstore.EventIDReusedError{Stream: part.Stream, ID: event.ID, Reason: "it is in another stream"}
				}
				seen[event.ID] = part.Stream
			}
		}
		return w.spy.Backend.Append(ctx, req)
	}
	id := uuid.New()
	for _, name := range []string{"account-1", "account-2"} {
		res := do(t, w.here, decider.Command{Stream: name, ID: id}, pay(1))
		require.False(t, res.Duplicate)
		require.Equal(t, Account{1, 1}, res.State)
	}
}

func TestACommandIsTheCauseOfItsEventsWhereThereIsNone(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	id := uuid.New()
	res := do(t, w.here, decider.Command{Stream: stream, ID: id}, pay(1))
	require.Equal(t, id.String(), res.Events[0].CausationID())
	cause := eventstore.RecordedEvent{Event: eventstore.Event{ID: uuid.New()}.WithCorrelationID("request-1")}
	res, err := w.here.Do(codec.WithCause(t.Context(), cause), decider.Command{Stream: stream, ID: uuid.New()}, pay(1))
	require.NoError(t, err)
	require.Equal(t, cause.ID.String(), res.Events[0].CausationID())
	require.Equal(t, "request-1", res.Events[0].CorrelationID())
	require.Empty(t, transact(t, w.here, pay(1)).Events[0].Metadata)
}

func TestACommandIsOneConversation(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	id := uuid.New()
	for _, event := range do(t, w.here, decider.Command{Stream: stream, ID: id}, pay(1, 2)).Events {
		require.Equal(t, id.String(), event.CorrelationID())
	}
	ctx := codec.WithMetadata(t.Context(), map[string]string{ // headers that were not sent
		eventstore.MetaCausationID: "", eventstore.MetaCorrelationID: "", "user": "Ada",
	})
	id = uuid.New()
	res, err := w.here.Do(ctx, decider.Command{Stream: stream, ID: id}, pay(1))
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		eventstore.MetaCausationID: id.String(), eventstore.MetaCorrelationID: id.String(), "user": "Ada",
	}, res.Events[0].Metadata)
}

func TestDecisionsAndReactionsRunOnAStoreWithoutMetadata(t *testing.T) {
	w := newWorld(t, decider.Options{}, func(c *eventstore.Capabilities) { c.Metadata = eventstore.No("test") })
	do(t, w.here, decider.Command{Stream: stream, ID: uuid.New()}, pay(1))
	sub := decider.React("r", accountEvents(), func(ctx context.Context, cause *decider.Cause, _ Event) error {
		_, err := w.here.Do(ctx, cause.Command("other-1", "pay"), pay(1))
		if err == nil {
			_, err = w.here.Transact(ctx, "other-1", pay(1))
		}
		return err
	})
	sub.Filter.Categories, sub.Retry.Attempts = []string{"account"}, 1
	require.NoError(t, react(t, w.store, sub))
	require.Equal(t, Account{2, 2}, load(t, w.here, "other-1"))
	_, err := w.here.Transact(codec.WithMetadata(t.Context(), map[string]string{"user": "Ada"}), stream, pay(1))
	require.ErrorIs(t, err, eventstore.ErrUnsupported, "what the application adds is not lost without a word")
}

func TestEventIDsDifferWhereAStreamsNameEndsInTheDigitsOfANumber(t *testing.T) {
	d := accounts(t, newStore(t, memory.New(), nil), nil)
	id, seen := uuid.New(), make(map[uuid.UUID]bool)
	for _, name := range []string{"account-1", "account-11"} {
		for _, event := range do(t, d, decider.Command{Stream: name, ID: id}, pay(make([]int64, 11)...)).Events {
			require.False(t, seen[event.ID], "event 11 of account-1 and event 1 of account-11")
			seen[event.ID] = true
		}
	}
}

func TestAStreamThatLostEventsIsFoldedAnew(t *testing.T) {
	for name, opts := range map[string]decider.Options{
		"cache": {CacheSize: 10}, "cache and snapshots": {CacheSize: 10, Snapshots: &decider.Snapshots{Type: "Account", Every: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, opts, nil)
			transact(t, w.here, pay(1, 2, 3))
			restored := memory.NewLog() // an older copy of the store
			w.spy.Backend = restored.Open(nil)
			w.others = accounts(t, newStore(t, restored.Open(nil), nil), nil)
			transact(t, w.others, pay(7))
			res := transact(t, w.here, pay(1))
			require.Equal(t, Account{8, 2}, res.State)
			require.Contains(t, w.log.String(), "lost events")
			require.Equal(t, Account{9, 3}, transact(t, w.here, pay(1)).State)
		})
	}
}

func TestEveryErrorSaysWhetherAnythingIsWritten(t *testing.T) {
	down := errors.Join(eventstore.ErrUnavailable, errors.New("down"))
	for name, test := range map[string]struct {
		arrange func(w *world)
		want    error
	}{
		"a read that fails": {func(w *world) { w.spy.read = func(eventstore.ReadStreamRequest) error { return down } }, eventstore.ErrUnavailable},
		"an append that fails": {func(w *world) {
			w.spy.append = func(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error) { return nil, down }
		}, eventstore.ErrUnavailable},
		"a sealed store": {func(w *world) { _, _ = w.store.Seal(context.Background(), "test") }, eventstore.ErrSealed},
		"a closed store": {func(w *world) { _ = w.store.Close() }, eventstore.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, decider.Options{CacheSize: 1}, nil)
			transact(t, w.others, pay(1))
			test.arrange(w)
			res, err := w.here.Do(t.Context(), decider.Command{Stream: stream, ID: uuid.New()}, pay(100))
			require.ErrorIs(t, err, test.want)
			require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome)
			require.Zero(t, res)
			state, _, err := w.others.Load(t.Context(), stream)
			require.NoError(t, err)
			require.Equal(t, Account{1, 1}, state)
		})
	}
}
