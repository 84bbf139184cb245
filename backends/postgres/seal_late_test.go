package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// An append is held up on its way to the server while the store is sealed and unsealed,
// and then lands. Its caller has left by then, and may have been told of the seal.
func TestAnAppendThatLandsAfterASealStaysRefusedWhenTheSealIsLifted(t *testing.T) {
	one := func() []eventstore.StreamAppend {
		return []eventstore.StreamAppend{part("order-1", eventstore.Any(), event("Placed", "{}"))}
	}
	for _, test := range []struct {
		name   string
		parts  func() []eventstore.StreamAppend
		before func(t *testing.T, held, other *eventstore.Store) // the append is sent
	}{
		{"an event", one, nil},
		{"several events", func() []eventstore.StreamAppend {
			return []eventstore.StreamAppend{part("order-1", eventstore.Any(), event("Placed", "{}"), event("Paid", "{}"))}
		}, nil},
		{"several streams", func() []eventstore.StreamAppend {
			return append(one(), part("order-2", eventstore.Any(), event("Placed", "{}")))
		}, nil},
		{"sent while the store was sealed", one, func(t *testing.T, held, other *eventstore.Store) {
			_, err := other.Seal(t.Context(), "moved")
			require.NoError(t, err)
			_, err = held.AppendStreams(t.Context(), one()...)
			require.ErrorIs(t, err, eventstore.ErrSealed, "and so the handle knows of this seal")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := server.Database(t)
			other := newStore(t, openBackend(t, openPool(t, url), nil), nil)
			proxy, through := tcpproxy.ForURL(t, url)
			held := newStore(t, openBackend(t, openPool(t, through), nil), nil)
			_, err := held.AppendStreams(t.Context(), test.parts()...) // every statement is prepared
			require.NoError(t, err)
			if test.before != nil {
				test.before(t, held, other)
			}
			head, err := other.Info(t.Context())
			require.NoError(t, err)

			proxy.Stall()
			var unknown *eventstore.UnknownOutcomeError
			require.Eventually(t, func() bool { // a slow machine may not have sent it
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err := held.AppendStreams(ctx, test.parts()...)
				return errors.As(err, &unknown)
			}, soon, now)
			_, err = other.Seal(t.Context(), "moved")
			require.NoError(t, err)
			_, err = other.AppendStreams(t.Context(), unknown.Parts...)
			require.ErrorIs(t, err, eventstore.ErrSealed, "which says that nothing was written and nothing will be")
			_, err = other.Unseal(t.Context())
			require.NoError(t, err)
			proxy.Resume()

			// Close waits for what is under way, and whatever follows from its answer.
			require.NoError(t, held.Close())
			after, err := other.Info(t.Context())
			require.NoError(t, err)
			require.Equal(t, head.Head, after.Head, "nothing was written")
			results, err := other.AppendStreams(t.Context(), unknown.Parts...)
			require.NoError(t, err)
			require.False(t, results[0].Duplicate)
		})
	}
}

// Whoever waits for its append is not refused for a seal that was lifted before.
func TestAnAppendIsSentAgainWhereTheStoreWasSealedAndUnsealedMeanwhile(t *testing.T) {
	url := server.Database(t)
	pool := openPool(t, url)
	backend := openBackend(t, pool, nil)
	store := newStore(t, backend, &eventstore.Options{RetryFor: -1})
	other := newStore(t, openBackend(t, openPool(t, url), nil), nil)
	for version := uint64(0); version < 6; version += 3 {
		_, err := other.Seal(t.Context(), "moved")
		require.NoError(t, err)
		_, err = other.Unseal(t.Context())
		require.NoError(t, err)
		results, err := store.AppendStreams(t.Context(),
			part("order-1", eventstore.Exactly(version), event("Placed", "{}"), event("Paid", "{}")),
			part("account-1", eventstore.Any(), event("Paid", "{}")))
		require.NoError(t, err)
		require.Equal(t, version+2, results[0].Version)

		_, err = other.Seal(t.Context(), "moved")
		require.NoError(t, err)
		_, err = other.Unseal(t.Context())
		require.NoError(t, err)
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		result, err := backend.AppendTx(t.Context(), tx, "order-1", eventstore.Exactly(version+2), event("Sent", "{}"))
		require.NoError(t, err)
		require.Equal(t, version+3, result.Version)
		require.NoError(t, tx.Commit(t.Context()))
	}
}
