package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestCloseEndsARunWhateverItsHandlerIsDoing(t *testing.T) {
	for name, handler := range map[string]func(context.Context, eventstore.RecordedEvent) error{
		"it waits for its context": func(ctx context.Context, _ eventstore.RecordedEvent) error {
			<-ctx.Done()
			return ctx.Err()
		},
		"it fails again and again":       func(context.Context, eventstore.RecordedEvent) error { return errBroken },
		"it finds nothing that it needs": func(context.Context, eventstore.RecordedEvent) error { return unavailable() },
		"it has nothing to do":           func(context.Context, eventstore.RecordedEvent) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				fill(t, store, 1)
				done := running(t.Context(), store, eventstore.Subscription{
					Name: "billing", Handler: handler, Retry: eventstore.HandlerRetry{Attempts: 1 << 30},
				})
				<-time.After(time.Second)
				closed := time.Now()
				require.NoError(t, store.Close())
				require.ErrorIs(t, <-done, eventstore.ErrClosed)
				require.Zero(t, time.Since(closed))
			})
		})
	}
}

func TestARunOutlivesAStalledAndAnAbsentDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		store := backend.open(t, nil)
		last := fill(t, store, 3)[2]
		spy := newSpy()
		start := time.Now()
		spy.save = func(eventstore.Checkpoint) error {
			if time.Since(start) < time.Minute {
				<-time.After(7 * time.Second) // longer than the Store waits for a save
				return context.DeadlineExceeded
			}
			return nil
		}
		spy.swap = func(eventstore.SwapLeaseRequest) error {
			if time.Since(start) < 30*time.Second {
				return unavailable()
			}
			return nil
		}
		away := true
		backend.info = func(ctx context.Context) (eventstore.Info, error) {
			if time.Since(start) < 40*time.Second {
				return eventstore.Info{}, unavailable()
			}
			away = false
			return backend.Backend.Info(ctx)
		}
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", Checkpoints: spy, UntilCaughtUp: true,
			Handler: func(context.Context, eventstore.RecordedEvent) error { return nil },
		}))
		require.False(t, away)
		loaded, err := spy.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "billing"})
		require.NoError(t, err)
		require.Equal(t, last.Place(), loaded.Checkpoint.Place, "it returns nil only once the checkpoint is saved")
	})
}

func TestAnUnavailableWorldIsNotTheEventsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		start := time.Now()
		calls := 0
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", UntilCaughtUp: true, ParkStream: "parked", Retry: eventstore.HandlerRetry{Attempts: 2},
			Handler: func(context.Context, eventstore.RecordedEvent) error {
				if calls++; time.Since(start) < time.Hour {
					return fmt.Errorf("the mail server: %w", eventstore.ErrUnavailable)
				}
				return nil
			},
		}))
		require.Greater(t, calls, 100)
		require.Empty(t, collect(t, store.ReadStream(t.Context(), "parked", eventstore.ReadOptions{})))
	})
}

func TestParkingWaitsForABackendThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newScripted()
		store := backend.open(t, nil)
		fill(t, store, 1)
		start := time.Now()
		backend.append = func(ctx context.Context, _ int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if time.Since(start) < 10*time.Minute {
				return nil, unavailable()
			}
			return backend.Backend.Append(ctx, req)
		}
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", UntilCaughtUp: true, ParkStream: "parked",
			Handler: func(context.Context, eventstore.RecordedEvent) error { return errBroken },
		}))
		require.Len(t, collect(t, store.ReadStream(t.Context(), "parked", eventstore.ReadOptions{})), 1)
	})
}

func TestAHandlersFailureIsNotLostWhenTheLastSaveFailsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 2)
		full := errors.New("disk full")
		spy := newSpy()
		spy.save = func(eventstore.Checkpoint) error { return full }
		err := store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", Checkpoints: spy, Retry: eventstore.HandlerRetry{Attempts: 1},
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				if e.Version == 2 {
					return context.Canceled
				}
				return nil
			},
		})
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, uint64(2), failure.Version)
		require.ErrorIs(t, err, full)
		require.NotErrorIs(t, err, context.Canceled, "a failure is no clean stop")
	})
}

func TestASealEndsARunWhoseHandlerOrParkStreamMeetsIt(t *testing.T) {
	for name, park := range map[string]string{"its handler": "", "its park stream": "parked"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newScripted().open(t, nil)
				events := fill(t, store, 2)
				_, err := store.Seal(t.Context(), "moved")
				require.NoError(t, err)
				err = store.Run(t.Context(), eventstore.Subscription{
					Name: "billing", ParkStream: park,
					Handler: func(ctx context.Context, e eventstore.RecordedEvent) error {
						switch {
						case e.Version == 1:
							return nil
						case park == "":
							_, err := store.Append(ctx, "invoice-1", eventstore.Any(), event("A"))
							return err
						}
						return errBroken
					},
				})
				require.ErrorIs(t, err, eventstore.ErrSealed)
				var failure *eventstore.HandlerError
				require.ErrorAs(t, err, &failure)
				require.Equal(t, events[1].ID, failure.EventID)
				checkpoint, _, err := store.LoadCheckpoint(t.Context(), "billing")
				require.NoError(t, err)
				require.Equal(t, events[0].Place(), checkpoint.Place, "it stays before the event")
			})
		})
	}
}

func TestABatchIsWhatIsAtHandAndHandsOverItsCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		events := fill(t, store, 600)
		var got []eventstore.RecordedEvent
		largest := 0
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{
			Name: "report", UntilCaughtUp: true,
			HandleBatch: func(_ context.Context, b eventstore.Batch) error {
				<-time.After(time.Millisecond) // so that more is at hand than one event
				got = append(got, b.Events...)
				largest = max(largest, len(b.Events))
				require.Equal(t, "report", b.Checkpoint.Name)
				require.Equal(t, info.ID, b.Checkpoint.Store)
				require.Equal(t, uint64(1), b.Checkpoint.Epoch)
				require.Equal(t, b.Events[len(b.Events)-1].Place(), b.Checkpoint.Place)
				return nil
			},
		}))
		require.Equal(t, events, got)
		require.Greater(t, largest, 100)
		require.LessOrEqual(t, largest, 256)
	})
}

func TestABatchEndsAtFourMebibytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		for range 40 {
			_, err := store.Append(t.Context(), "order-1", eventstore.Any(), eventstore.Event{Type: "A", ContentType: "text/plain", Data: make([]byte, 250<<10)})
			require.NoError(t, err)
		}
		total := 0
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{
			Name: "report", UntilCaughtUp: true,
			HandleBatch: func(_ context.Context, b eventstore.Batch) error {
				<-time.After(time.Millisecond)
				bytes := 0
				for _, e := range b.Events {
					bytes += e.Size()
				}
				require.LessOrEqual(t, bytes, 4<<20)
				total += len(b.Events)
				return nil
			},
		}))
		require.Equal(t, 40, total)
	})
}

func TestAFailedBatchIsHandledAgainOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		fill(t, store, 20)
		handled := map[uint64]int{}
		require.NoError(t, store.Run(t.Context(), eventstore.Subscription{
			Name: "report", UntilCaughtUp: true, ParkStream: "parked", Retry: eventstore.HandlerRetry{Attempts: 2},
			HandleBatch: func(_ context.Context, b eventstore.Batch) error {
				<-time.After(time.Millisecond)
				for _, e := range b.Events {
					if e.Version == 13 {
						return errBroken
					}
				}
				for _, e := range b.Events {
					handled[e.Version]++
				}
				return nil
			},
		}))
		require.Len(t, handled, 19)
		links := collect(t, store.ReadStream(t.Context(), "parked", eventstore.ReadOptions{}))
		require.Len(t, links, 1)
	})
}

func TestConcurrencyKeepsTheOrderWithinEachStreamAndTheCheckpointBehindTheSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		var first eventstore.RecordedEvent
		// Which streams share the slow one's partition is by chance: of so many it is about
		// a quarter, and never half.
		const streams, perStream = 100, 4
		for i := range streams * perStream {
			result, err := store.Append(t.Context(), fmt.Sprintf("order-%d", i%streams), eventstore.Any(), event("A"))
			require.NoError(t, err)
			if i == 0 {
				first = result.Events[0]
			}
		}
		var mu sync.Mutex
		versions := map[string][]uint64{}
		var busy, most atomic.Int64
		held := make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		done := running(ctx, store, eventstore.Subscription{
			Name: "billing", Concurrency: 4, CheckpointInterval: 10 * time.Millisecond,
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				most.Store(max(most.Load(), busy.Add(1)))
				defer busy.Add(-1)
				if e.Stream == first.Stream && e.Version == 2 {
					<-held
				} else {
					<-time.After(time.Millisecond)
				}
				mu.Lock()
				defer mu.Unlock()
				versions[e.Stream] = append(versions[e.Stream], e.Version)
				return nil
			},
		})
		<-time.After(10 * time.Second)
		mu.Lock()
		others := 0
		for stream, seen := range versions {
			if stream != first.Stream {
				others += len(seen)
			}
		}
		mu.Unlock()
		require.Greater(t, others, streams+streams/2, "a slow stream does not hold up the others")
		checkpoint, ok, err := store.LoadCheckpoint(t.Context(), "billing")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, uint64(streams), positionOf(checkpoint.Place), "the event after it is not finished")
		close(held)
		<-time.After(10 * time.Second)
		stop()
		require.NoError(t, <-done)
		require.LessOrEqual(t, most.Load(), int64(4))
		require.Greater(t, most.Load(), int64(1))
		for stream, seen := range versions {
			require.Len(t, seen, perStream, stream)
			for i, version := range seen {
				require.Equal(t, uint64(i+1), version, stream)
			}
		}
		checkpoint, _, err = store.LoadCheckpoint(t.Context(), "billing")
		require.NoError(t, err)
		require.Equal(t, uint64(streams*perStream), positionOf(checkpoint.Place))
	})
}

func positionOf(p eventstore.Place) uint64 {
	hi, _ := p.Position.Words()
	return hi
}

func TestAFailureInOneLaneStopsTheRunBeforeItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		for i := range 100 {
			_, err := store.Append(t.Context(), fmt.Sprintf("order-%d", i), eventstore.Any(), event("A"))
			require.NoError(t, err)
		}
		err := store.Run(t.Context(), eventstore.Subscription{
			Name: "billing", Concurrency: 8, Retry: eventstore.HandlerRetry{Attempts: 1},
			Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				if e.Stream == "order-49" {
					return errBroken
				}
				return nil
			},
		})
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, "order-49", failure.Stream)
		checkpoint, _, err := store.LoadCheckpoint(t.Context(), "billing")
		require.NoError(t, err)
		require.LessOrEqual(t, positionOf(checkpoint.Place), uint64(49))
	})
}

func TestARunningSubscriptionWhoseStoreIsRestoredToAnOlderCopySkipsNothing(t *testing.T) {
	for name, after := range map[string]struct {
		grown int
		want  error
	}{
		"and has not grown since":               {0, eventstore.ErrCheckpointAhead},
		"and has grown beyond the subscription": {30, eventstore.ErrForeignCheckpoint},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newScripted()
				store := backend.open(t, nil)
				fill(t, store, 10)
				lost := make(chan struct{})
				backend.subscribe = func(ctx context.Context, _ int, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
					return func(yield func(eventstore.Message, error) bool) {
						for m, err := range backend.Backend.Subscribe(ctx, req) {
							if !yield(m, err) {
								return
							}
							if m.Kind == eventstore.MessageCaughtUp {
								<-lost
								yield(eventstore.Message{}, unavailable())
								return
							}
						}
					}
				}
				handled := 0
				done := running(t.Context(), store, eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error {
					handled++
					return nil
				}})
				<-time.After(2 * time.Second)
				backend.Backend = restored(t, store, 5, after.grown)
				close(lost)
				require.ErrorIs(t, <-done, after.want)
				require.Equal(t, 10, handled)
			})
		})
	}
}

// restored is a copy of a store's first events, with the same identity, to which
// others were appended since.
func restored(t *testing.T, store *eventstore.Store, n, grown int) *memory.Backend {
	t.Helper()
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	older := memory.NewLogWithID(info.ID).Open(nil)
	for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Limit: n}) {
		require.NoError(t, err)
		_, err = older.Append(t.Context(), eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{Stream: e.Stream, Expected: eventstore.Any(), Events: []eventstore.Event{e.Event}}}})
		require.NoError(t, err)
	}
	copied, err := eventstore.New(older, nil)
	require.NoError(t, err)
	for range grown {
		_, err := copied.Append(t.Context(), "order-1", eventstore.Any(), event("B"))
		require.NoError(t, err)
	}
	return older
}

func TestAPositionAheadOfTheHeadIsRefusedAtTheStart(t *testing.T) {
	store := newScripted().open(t, nil)
	fill(t, store, 3)
	ahead := eventstore.NewPosition(1000, 0)
	for _, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{After: ahead}) {
		require.ErrorIs(t, err, eventstore.ErrCheckpointAhead)
	}
	err := store.Run(t.Context(), eventstore.Subscription{Name: "billing", After: ahead, Handler: func(context.Context, eventstore.RecordedEvent) error { return nil }})
	require.ErrorIs(t, err, eventstore.ErrCheckpointAhead)
	_, found, err := store.LoadCheckpoint(t.Context(), "billing")
	require.NoError(t, err)
	require.False(t, found, "nothing was saved")
}
