package conformance

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestACountdownEndsSoLongAfterItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, cancel := newCountdown(t.Context())
		defer cancel()
		pass(time.Hour)
		require.NoError(t, c.Err(), "it has not begun")
		c.begin(25 * time.Millisecond)
		pass(24 * time.Millisecond)
		synctest.Wait()
		require.NoError(t, c.Err())
		pass(2 * time.Millisecond)
		synctest.Wait()
		require.ErrorIs(t, c.Err(), context.DeadlineExceeded)
		derived, end := context.WithCancel(c)
		defer end()
		require.ErrorIs(t, derived.Err(), context.DeadlineExceeded)
	})
}

func TestACountdownEndsWithItsParentAndWhenItIsCancelled(t *testing.T) {
	parent, end := context.WithCancel(t.Context())
	c, cancel := newCountdown(parent)
	defer cancel()
	c.begin(time.Hour)
	end()
	<-c.Done()
	require.ErrorIs(t, c.Err(), context.Canceled)

	c, cancel = newCountdown(t.Context())
	derived, free := context.WithCancel(c)
	defer free()
	cancel()
	<-derived.Done()
	require.ErrorIs(t, derived.Err(), context.Canceled)
}

// pass lets so much of the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }
