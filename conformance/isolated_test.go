package conformance_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestWhatIsLeftOfAFreshStoreThatCannotBeOpenedIsRemoved(t *testing.T) {
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	removed := false
	isolated := &conformance.Isolated{
		Open: func(context.Context) (eventstore.Backend, error) { cancel(); return nil, broken },
		Remove: func(ctx context.Context) error {
			removed = true
			return ctx.Err()
		},
	}
	_, err := isolated.Fixture(ctx)
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, context.Canceled, "it is removed although the context has ended")
	require.True(t, removed)
}

func TestAFreshStoreIsRemovedAlsoWhereItsCheckWasInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	isolated := &conformance.Isolated{
		Open:   func(context.Context) (eventstore.Backend, error) { cancel(); return nil, nil },
		Remove: func(ctx context.Context) error { return ctx.Err() },
	}
	fixture, err := isolated.Fixture(ctx)
	require.NoError(t, err)
	require.NoError(t, fixture.Remove(ctx))
}
