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
				backend.append = func(ctx context.Context, call int, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
					if call > 1 {
						return backend.Backend.Append(ctx, req)
					}
					if stored {
						_, err := backend.Backend.Append(ctx, req)
						require.NoError(t, err)
					}
					return nil, unknown()
				}
				var seen eventstore.Observation
				store := backend.open(t, &eventstore.Options{Observe: func(_ context.Context, o eventstore.Observation) { seen = o }})
				result, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), event("A"), event("B"))
				require.NoError(t, err)
				require.Equal(t, uint64(2), result.Version)
				require.Equal(t, stored, result.Duplicate)
				require.Len(t, collect(t, store.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{})), 2)
				require.Equal(t, 2, seen.Attempts)
				require.Equal(t, 2, seen.Events)
				require.NoError(t, seen.Err)
			})
		})
	}
}

func TestAnUnknownOutcomeStaysUnknownWhenLaterAttemptsOnlyFail(t *testing.T) {
	for name, later := range map[string]error{"unavailable": unavailable(), "an error of another kind": errors.New("permission denied")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newScripted()
				backend.append = func(_ context.Context, call int, _ eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
					if call == 1 {
						return nil, unknown()
					}
					return nil, later
				}
				start := time.Now()
				_, err := backend.open(t, nil).Append(t.Context(), "order-1", eventstore.Any(), event("A"))
				require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
				require.ErrorIs(t, err, later)
				require.LessOrEqual(t, time.Since(start), 16*time.Second)
			})
		})
	}
}

func TestAConflictSettlesAnUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.append = func(_ context.Context, call int, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
			if call == 1 {
				return nil, unknown()
			}
			return nil, &eventstore.ConflictError{Stream: req.Parts[0].Stream, Actual: 7}
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
		backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
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
		backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
			return nil, unknown()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		_, err := backend.open(t, nil).Append(ctx, "order-1", eventstore.Any(), event("A"))
		require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errBroken, "the driver's error stays reachable")
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

func TestRetriesCanBeTurnedOff(t *testing.T) {
	backend := newScripted()
	backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
		return nil, unavailable()
	}
	_, err := backend.open(t, &eventstore.Options{RetryFor: -1}).Append(t.Context(), "order-1", eventstore.Any(), event("A"))
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.EqualValues(t, 1, backend.calls.Load())
}

func TestABackendThatAnswersTooFewPartsIsNotBelieved(t *testing.T) {
	backend := newScripted()
	backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
		return nil, nil
	}
	_, err := backend.open(t, &eventstore.Options{RetryFor: -1}).Append(t.Context(), "order-1", eventstore.Any(), event("A"))
	require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
}

func TestClosingTheStoreEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		backend.append = func(context.Context, int, eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
			return nil, unknown()
		}
		store := backend.open(t, nil)
		time.AfterFunc(time.Second, func() { _ = store.Close() })
		start := time.Now()
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("A"))
		require.ErrorIs(t, err, eventstore.ErrClosed)
		require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
		require.Equal(t, time.Second, time.Since(start))
	})
}
