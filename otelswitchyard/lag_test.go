package otelswitchyard_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// lag returns the lag of the only subscription, where it has one.
func (s *shop) lag(t *testing.T) (seconds float64, found bool) {
	t.Helper()
	gauge, found := s.collect(t)["switchyard.subscription.lag"].(metricdata.Gauge[float64])
	if !found {
		return 0, false
	}
	require.Len(t, gauge.DataPoints, 1)
	return gauge.DataPoints[0].Value, true
}

func (s *shop) requireLag(t *testing.T, want float64, why string) {
	t.Helper()
	seconds, found := s.lag(t)
	require.True(t, found, why)
	require.InDelta(t, want, seconds, 0.01, why)
}

func (s *shop) requireNoLag(t *testing.T, why string) {
	t.Helper()
	_, found := s.lag(t)
	require.False(t, found, why)
}

func TestTheLagGrowsWhileAHandlerHangsAndStaysWhenItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		_, err := s.pay(t.Context(), "order-1")
		require.NoError(t, err)
		<-time.After(time.Minute)
		handling, goOn := make(chan struct{}), make(chan struct{})
		stop := s.fulfilling(t, func(context.Context, *decider.Cause, Paid) error {
			close(handling)
			<-goOn
			return nil
		})
		<-handling
		s.requireLag(t, 60, "")
		<-time.After(2 * time.Second)
		s.requireLag(t, 62, "")
		close(goOn)
		<-time.After(time.Hour)
		s.requireLag(t, 62, "it has no event in its hands")
		stop()
		s.requireNoLag(t, "the subscription is over here")
		require.NoError(t, s.store.Close())
	})
}

func TestAnOwnerThatLostItsLeaseHasNoLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		_, err := s.pay(t.Context(), "order-1")
		require.NoError(t, err)
		stop := s.fulfilling(t, s.ship)
		synctest.Wait()
		s.requireLag(t, 0, "")
		require.NoError(t, s.store.ResetCheckpoint(t.Context(), eventstore.Checkpoint{Name: "fulfilment", Place: s.events(t, "order-1")[0].Place()}))
		<-time.After(time.Minute)
		s.requireNoLag(t, "it has begun again, and was given nothing since")
		stop()
		require.NoError(t, s.store.Close())
	})
}

func TestARetriedEventSaysNothingAboutTheLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		_, err := s.pay(t.Context(), "order-1")
		require.NoError(t, err)
		handle := func(context.Context, eventstore.RecordedEvent) error { return errors.New("no") }
		sub := eventstore.Subscription{
			Name: "billing", ParkStream: "parked", Retry: eventstore.HandlerRetry{Attempts: 1}, UntilCaughtUp: true,
			Handler: func(ctx context.Context, e eventstore.RecordedEvent) error { return handle(ctx, e) },
		}
		require.NoError(t, s.store.Run(t.Context(), sub))
		<-time.After(24 * time.Hour)
		parked, err := s.store.ParkedEvents(t.Context(), "parked")
		require.NoError(t, err)
		require.NoError(t, s.store.RetryParked(t.Context(), "parked", parked...))
		handling, goOn := make(chan struct{}), make(chan struct{})
		handle = func(_ context.Context, e eventstore.RecordedEvent) error {
			if e.Stream == "order-1" {
				close(handling)
				<-goOn
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		sub.UntilCaughtUp = false
		go func() { ended <- s.store.Run(ctx, sub) }()
		<-handling
		<-time.After(3 * time.Second)
		s.requireLag(t, 3, "it counts from when the handler was given it")
		close(goOn)
		synctest.Wait()
		s.requireNoLag(t, "it is not what the subscription came to")
		_, err = s.pay(t.Context(), "order-2")
		require.NoError(t, err)
		synctest.Wait()
		s.requireLag(t, 0, "")
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, s.store.Close())
	})
}

// Of events that are handled side by side the newest says how far the subscription is.
func TestAnOlderEventThatIsFinishedLaterLeavesNoLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		subscribed := s.telemetry.TraceStart(t.Context(), eventstore.TraceStart{Operation: eventstore.OperationSubscribe, Subscription: "billing"})
		older, newer := s.handling(t, 1, time.Now()), s.handling(t, 2, time.Now())
		newer()
		<-time.After(time.Hour)
		s.requireLag(t, 3600, "one hangs")
		older()
		s.requireLag(t, 0, "all is handled")
		s.telemetry.TraceEnd(subscribed, eventstore.TraceEnd{Operation: eventstore.OperationSubscribe})
		require.NoError(t, s.store.Close())
	})
}

func TestOfEventsInHandTheOldestIsTheLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		for position := range uint64(10) {
			end := s.handling(t, 1+position, time.Now().Add(-time.Duration(10-position)*time.Minute))
			defer end()
		}
		s.requireLag(t, 600, "")
		require.NoError(t, s.store.Close())
	})
}

// handling has billing handle an event until the function is called.
func (s *shop) handling(t *testing.T, position uint64, recorded time.Time) (end func()) {
	t.Helper()
	event := eventstore.RecordedEvent{Stream: "order-1", Version: position, Position: eventstore.NewPosition(position, 0), RecordedAt: recorded}
	start := eventstore.TraceStart{Operation: eventstore.OperationHandle, Subscription: "billing", Stream: event.Stream, Events: []eventstore.RecordedEvent{event}}
	ctx := s.telemetry.TraceStart(t.Context(), start)
	return func() {
		s.telemetry.TraceEnd(ctx, eventstore.TraceEnd{Operation: eventstore.OperationHandle, Events: 1})
	}
}

// The database's clock is ahead of this machine's.
func TestALagIsNotNegative(t *testing.T) {
	s := newShop(t)
	subscribed := s.telemetry.TraceStart(t.Context(), eventstore.TraceStart{Operation: eventstore.OperationSubscribe, Subscription: "billing"})
	end := s.handling(t, 1, time.Now().Add(time.Hour))
	s.requireLag(t, 0, "in hand")
	end()
	s.requireLag(t, 0, "finished")
	s.telemetry.TraceEnd(subscribed, eventstore.TraceEnd{Operation: eventstore.OperationSubscribe})
	s.requireNoLag(t, "over")
}
