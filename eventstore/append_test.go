package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

var errBroken = errors.New("connection reset by peer")

func unknown() error { return fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, errBroken) }

func unavailable() error { return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, errBroken) }

func TestAnUnknownOutcomeIsSettledByAppendingTheSameEventsAgain(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprintf("stored by the first attempt %t", stored), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newScripted()
				backend.append = func(ctx context.Context, call int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
					if call > 1 {
						return backend.Backend.Append(ctx, req)
					}
					if stored {
						_, err := backend.Backend.Append(ctx, req)
						require.NoError(t, err)
					}
					return nil, unknown()
				}
				var seen traces
				store := backend.open(t, &eventstore.Options{Tracer: &seen})
				result, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("A"), event("B"))
				require.NoError(t, err)
				require.Equal(t, uint64(2), result.Version)
				require.Equal(t, stored, result.Duplicate)
				require.Len(t, collect(t, store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{})), 2)
				require.Equal(t, 2, seen.ends[0].Attempts)
				require.Equal(t, 2, seen.ends[0].Events)
				require.NoError(t, seen.ends[0].Err)
				require.Len(t, result.Events, 2)
				require.Equal(t, result.Events, collect(t, store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{})))
			})
		})
	}
}

func TestAnUnknownOutcomeStaysUnknownWhenLaterAttemptsOnlyFail(t *testing.T) {
	for name, later := range map[string]error{"unavailable": unavailable(), "an error of another kind": errors.New("permission denied")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newScripted()
				backend.append = func(_ context.Context, call int, _ eventstore.AppendRequest) ([]eventstore.PartResult, error) {
					if call == 1 {
						return nil, unknown()
					}
					return nil, later
				}
				start := time.Now()
				_, err := backend.open(t, nil).Append(t.Context(), "order-1", eventstore.Any(), event("A"))
				require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
				require.NotErrorIs(t, err, later)
				require.NotErrorIs(t, err, eventstore.ErrUnavailable)
				require.LessOrEqual(t, time.Since(start), 16*time.Second)
			})
		})
	}
}

func TestAConflictSettlesAnUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.append = func(_ context.Context, call int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if call == 1 {
				return nil, unknown()
			}
			return nil, &eventstore.ConflictError{Stream: req.Parts[0].Stream, Expected: req.Parts[0].Expected, Actual: 7}
		}
		_, err := backend.open(t, nil).Append(t.Context(), "order-1", eventstore.NoStream(), event("A"))
		require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome)
		var conflict *eventstore.ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, uint64(7), conflict.Actual)
	})
}

func TestAVerdictIsNotTriedAgain(t *testing.T) {
	for _, verdict := range []error{eventstore.ErrConflict, eventstore.ErrEventIDReused, eventstore.ErrUnsupported, errBroken} {
		backend := newScripted()
		backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			return nil, verdict
		}
		_, err := backend.open(t, nil).Append(t.Context(), "order-1", eventstore.Any(), event("A"))
		require.ErrorIs(t, err, verdict)
		require.EqualValues(t, 1, backend.calls.Load())
	}
}

func TestRetriesKeepTheContextsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			return nil, unknown()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		_, err := backend.open(t, nil).Append(ctx, "order-1", eventstore.Any(), event("A"))
		require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "that would say that nothing was written")
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

func TestRetriesCanBeTurnedOff(t *testing.T) {
	backend := newScripted()
	backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		return nil, unavailable()
	}
	_, err := backend.open(t, &eventstore.Options{RetryFor: -1}).Append(t.Context(), "order-1", eventstore.Any(), event("A"))
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.EqualValues(t, 1, backend.calls.Load())
}

func TestABackendThatAnswersTooFewPartsIsNotBelieved(t *testing.T) {
	backend := newScripted()
	backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		return nil, nil
	}
	_, err := backend.open(t, &eventstore.Options{RetryFor: -1}).Append(t.Context(), "order-1", eventstore.Any(), event("A"))
	require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
}

func TestClosingTheStoreEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			return nil, unknown()
		}
		store := backend.open(t, nil)
		time.AfterFunc(time.Second, func() { _ = store.Close() })
		start := time.Now()
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("A"))
		require.NotErrorIs(t, err, eventstore.ErrClosed, "that would say that nothing was written")
		require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestARefusalThatMayNotHoldForAnEarlierAttemptDoesNotSettleIt(t *testing.T) {
	for name, expected := range map[string]eventstore.ExpectedVersion{
		"the stream does not exist yet":        eventstore.StreamExists(),
		"the stream is not at its version yet": eventstore.Exactly(5),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newScripted()
				backend.append = func(_ context.Context, call int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
					if call == 1 {
						return nil, unknown()
					}
					return nil, &eventstore.ConflictError{Stream: req.Parts[0].Stream, Expected: req.Parts[0].Expected}
				}
				_, err := backend.open(t, nil).Append(t.Context(), "order-1", expected, event("A"))
				require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
				require.NotErrorIs(t, err, eventstore.ErrConflict)
				require.Greater(t, backend.calls.Load(), int64(2), "the earlier attempt may land any time")
			})
		})
	}
}

func TestASealSettlesAnUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.append = func(_ context.Context, call int, _ eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if call == 1 {
				return nil, unknown()
			}
			return nil, &eventstore.SealedError{Reason: "moved"}
		}
		_, err := backend.open(t, nil).Append(t.Context(), "order-1", eventstore.Any(), event("A"))
		require.ErrorIs(t, err, eventstore.ErrSealed)
		require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, "what lands after a seal stays refused")
		require.EqualValues(t, 2, backend.calls.Load())
	})
}

func TestTheCallerCanSettleAnUnknownOutcomeItself(t *testing.T) {
	for _, stored := range []bool{true, false} {
		backend := newScripted()
		var ids []string
		backend.append = func(ctx context.Context, call int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			ids = append(ids, req.ID.String())
			if call > 1 {
				return backend.Backend.Append(ctx, req)
			}
			if stored {
				_, err := backend.Backend.Append(ctx, req)
				require.NoError(t, err)
			}
			return nil, unknown()
		}
		store := backend.open(t, &eventstore.Options{RetryFor: -1})
		_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("A"), event("B")) // without IDs, as the README shows
		var unsettled *eventstore.UnknownOutcomeError
		require.ErrorAs(t, err, &unsettled)
		results, err := store.AppendStreams(t.Context(), unsettled.Parts...)
		require.NoError(t, err)
		require.Equal(t, stored, results[0].Duplicate)
		require.Len(t, collect(t, store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{})), 2)
		require.NotEqual(t, ids[0], ids[1], "each call of the Store is a request of its own")
	}
}

func TestAllAttemptsOfOneCallHaveOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		names := map[string]bool{}
		backend.append = func(ctx context.Context, call int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			names[req.ID.String()] = true
			if call < 5 {
				return nil, unknown()
			}
			return backend.Backend.Append(ctx, req)
		}
		store := backend.open(t, nil)
		for range 2 {
			_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("A"))
			require.NoError(t, err)
		}
		require.Len(t, names, 2)
		require.NotContains(t, names, "00000000-0000-0000-0000-000000000000")
	})
}

func TestWhatAnAppendReturnsIsTheCallersAndWhatItSentTheBackends(t *testing.T) {
	backend := newScripted()
	store := backend.open(t, &eventstore.Options{RetryFor: -1})
	result, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), eventstore.Event{Type: "A", Data: []byte(`{"a":1}`), Metadata: map[string]string{"k": "v"}})
	require.NoError(t, err)
	result.Events[0].Data[0], result.Events[0].Metadata["k"] = 'x', "changed"
	stored := collect(t, store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{}))
	require.JSONEq(t, `{"a":1}`, string(stored[0].Data))
	require.Equal(t, "v", stored[0].Metadata["k"])

	var sent eventstore.AppendRequest
	backend.append = func(_ context.Context, _ int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		sent = req
		return nil, unknown()
	}
	_, err = store.Append(t.Context(), "order-1", eventstore.Any(), eventstore.Event{Type: "A", Data: []byte(`{"a":2}`)})
	var unsettled *eventstore.UnknownOutcomeError
	require.ErrorAs(t, err, &unsettled)
	unsettled.Parts[0].Events[0].Data[0] = 'y'
	require.JSONEq(t, `{"a":2}`, string(sent.Parts[0].Events[0].Data), "an attempt may still be under way with it")
}
