package eventstore_test

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestACancelledRunEndsSoonThoughItsCheckpointsAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 20)
		spy := newSpy()
		var slow atomic.Bool
		stall := func(context.Context) error {
			if slow.Load() {
				<-time.After(time.Minute)
				return unavailable()
			}
			return nil
		}
		keeper := &stalling{Checkpoints: spy.Checkpoints, stall: stall}
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{
			Name: "billing", Checkpoints: keeper, CheckpointEvery: 1, CheckpointInterval: time.Millisecond,
			Handler: func(context.Context, eventstore.RecordedEvent) error { slow.Store(true); return nil },
		})
		<-time.After(3 * time.Second)
		stop()
		cancelled := time.Now()
		require.NoError(t, <-done)
		require.LessOrEqual(t, time.Since(cancelled), 5*time.Second)
		<-time.After(time.Hour) // what stalls has an end
	})
}

// stalling are checkpoints that heed their context and nothing else.
type stalling struct {
	eventstore.Checkpoints
	stall func(context.Context) error
}

func (s *stalling) heed(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.stall(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stalling) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	if err := s.heed(ctx); err != nil {
		return err
	}
	return s.Checkpoints.Save(ctx, req)
}

func (s *stalling) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	if err := s.heed(ctx); err != nil {
		return eventstore.SwapLeaseResult{}, err
	}
	return s.Checkpoints.SwapLease(ctx, req)
}

func TestAPanicBesideTheHandlerIsRunsError(t *testing.T) {
	for name, change := range map[string]func(*spyCheckpoints, *eventstore.Options){
		"saving": func(s *spyCheckpoints, _ *eventstore.Options) {
			s.save = func(eventstore.Checkpoint) error { panic("full") }
		},
		"tracing": func(_ *spyCheckpoints, o *eventstore.Options) { o.Tracer = panicking{} },
		"renewing": func(s *spyCheckpoints, _ *eventstore.Options) {
			s.swap = func(req eventstore.SwapLeaseRequest) error {
				if req.New.Renewals > 0 && req.New.Owner != "" {
					panic("full")
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newScripted()
				fill(t, backend.open(t, nil), 3)
				spy := newSpy()
				var opts eventstore.Options
				change(spy, &opts)
				err := backend.open(t, &opts).Run(t.Context(), eventstore.Subscription{
					Name: "billing", Checkpoints: spy, Concurrency: 2,
					Handler: func(context.Context, eventstore.RecordedEvent) error { return nil },
				})
				var panicked *eventstore.PanicError
				require.ErrorAs(t, err, &panicked)
				require.Equal(t, "full", panicked.Value)
			})
		})
	}
}

// panicking is a tracer that breaks where a handler is called.
type panicking struct{}

func (panicking) TraceStart(ctx context.Context, start eventstore.TraceStart) context.Context {
	if start.Operation == eventstore.OperationHandle {
		panic("full")
	}
	return ctx
}

func (panicking) TraceEnd(context.Context, eventstore.TraceEnd) {}

func TestAHandlerThatEndsItsGoroutineHasNotHandledItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 3)
		err := store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", Concurrency: 4, UntilCaughtUp: true,
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				if e.Version == 2 {
					runtime.Goexit()
				}
				return nil
			},
		})
		require.ErrorContains(t, err, "in place of returning")
	})
}

func TestABatchIsSavedWhenItIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		last := fill(t, store, 5)[4]
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{
			Name: "report", CheckpointInterval: time.Hour,
			HandleBatch: func(context.Context, eventstore.Batch) error { return nil },
		})
		synctest.Wait()
		checkpoint, found, err := store.LoadCheckpoint(t.Context(), "report")
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, last.Place(), checkpoint.Place)
		stop()
		require.NoError(t, <-done)
	})
}

func TestNumbersOfASubscriptionAreBounded(t *testing.T) {
	store := newScripted().open(t, nil)
	handler := func(context.Context, eventstore.RecordedEvent) error { return nil }
	for field, sub := range map[string]eventstore.Subscription{
		"concurrency": {Name: "billing", Handler: handler, Concurrency: math.MaxInt},
		"lease TTL":   {Name: "billing", Handler: handler, LeaseTTL: 1},
	} {
		err := store.Run(t.Context(), sub)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, field)
	}
}

func TestAPlaceThatNoEventCanHaveIsNoCheckpoint(t *testing.T) {
	store := newScripted().open(t, nil)
	good := fill(t, store, 2)[1].Place()
	for name, change := range map[string]func(*eventstore.Place){
		"no stream":         func(p *eventstore.Place) { p.Stream = "" },
		"a NUL":             func(p *eventstore.Place) { p.Stream = "order\x00" },
		"bytes, not UTF-8":  func(p *eventstore.Place) { p.Stream = "order\xff" },
		"version 0":         func(p *eventstore.Place) { p.Version = 0 },
		"a version too far": func(p *eventstore.Place) { p.Version = math.MaxUint64 },
		"no ID":             func(p *eventstore.Place) { p.ID = uuid.Nil },
	} {
		place := good
		change(&place)
		require.ErrorIs(t, store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: "billing", Place: place}), eventstore.ErrInvalid, name)
	}
	require.NoError(t, store.SaveCheckpoint(t.Context(), eventstore.Checkpoint{Name: "billing", Place: good}))
}

func TestAnUnknownOutcomeStaysUnknownWhereTheStreamOutgrewWhatIsLookedAt(t *testing.T) {
	for name, expected := range map[string]eventstore.ExpectedVersion{"Exactly": eventstore.NoStream(), "Any": eventstore.Any()} {
		t.Run(name, func(t *testing.T) {
			backend := newScripted()
			backend.caps = func(c eventstore.Capabilities) eventstore.Capabilities {
				c.IdempotencyWindow = 4
				return c
			}
			others := backend.open(t, nil)
			var mine uuid.UUID
			backend.append = func(ctx context.Context, call int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if call == 1 { // it is stored, and others are faster than the retry
					mine = req.Parts[0].Events[0].ID
					_, err := backend.Backend.Append(ctx, req)
					require.NoError(t, err)
					for range 10 {
						other := event("B")
						other.ID = uuid.New()
						_, err := backend.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{Stream: "order-1", Expected: eventstore.Any(), Events: []eventstore.Event{other}}}})
						require.NoError(t, err)
					}
					return nil, unknown()
				}
				for i := range req.Parts[0].Events { // beyond its window the backend knows no ID
					req.Parts[0].Events[i].ID = uuid.New()
				}
				return backend.Backend.Append(ctx, req)
			}
			_, err := others.Append(t.Context(), "order-1", expected, event("A"))
			require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
			require.NotErrorIs(t, err, eventstore.ErrConflict)
			found := 0
			for _, e := range collect(t, others.ReadStream(t.Context(), "order-1", eventstore.ReadOptions{})) {
				if e.ID == mine || e.Type == "A" {
					found++
				}
			}
			require.Equal(t, 1, found, "it is not stored a second time")
		})
	}
}
