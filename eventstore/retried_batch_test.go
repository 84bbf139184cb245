package eventstore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// target is a read model: it keeps what it applied and its checkpoints in one
// transaction, by the batch's checkpoint alone.
type target struct {
	eventstore.Checkpoints
	mu      sync.Mutex
	applied []uint64
	names   []string
	fails   map[uint64]bool
	before  func(ctx context.Context) // called outside the transaction
}

func newTarget() *target {
	return &target{Checkpoints: memory.New().Records().Checkpoints, fails: make(map[uint64]bool)}
}

func (r *target) handle(ctx context.Context, batch eventstore.Batch) error {
	if r.before != nil {
		r.before(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx = context.WithoutCancel(ctx) // a commit that is on its way
	stored, err := r.Load(ctx, eventstore.LoadCheckpointRequest{Name: batch.Checkpoint.Name})
	if err != nil {
		return err
	}
	var applied []uint64
	for _, e := range batch.Events {
		if stored.Found && !stored.Checkpoint.Place.Position.Before(e.Position) {
			continue
		}
		if r.fails[e.Version] {
			return errBroken
		}
		applied = append(applied, e.Version)
	}
	if err := r.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: batch.Checkpoint}); err != nil {
		return err
	}
	r.applied, r.names = append(r.applied, applied...), append(r.names, batch.Checkpoint.Name)
	return nil
}

func (r *target) failOn(version uint64, fails bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails[version] = fails
}

func (r *target) subscription() eventstore.Subscription {
	return eventstore.Subscription{
		Name: "billing", ParkStream: parkStream, UntilCaughtUp: true, HandleBatch: r.handle, Checkpoints: r,
		Retry: eventstore.HandlerRetry{Attempts: 2},
	}
}

// retryRequested parks version 2 of 3, and asks for its retry.
func retryRequested(t *testing.T, store *eventstore.Store, r *target) {
	t.Helper()
	fill(t, store, 3)
	r.fails[2] = true
	require.NoError(t, store.Run(t.Context(), r.subscription()))
	require.Equal(t, []uint64{1, 3}, r.applied)
	require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
	delete(r.fails, 2)
	r.names = nil
}

func (r *target) stored(t *testing.T) (names []string) {
	t.Helper()
	list, err := r.List(t.Context(), eventstore.ListCheckpointsRequest{Limit: 100})
	require.NoError(t, err)
	for _, checkpoint := range list.Checkpoints {
		names = append(names, checkpoint.Name)
	}
	return names
}

func TestARetriedBatchHasACheckpointOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		r := newTarget()
		retryRequested(t, store, r)
		before, err := r.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "billing"})
		require.NoError(t, err)
		r.before = func(ctx context.Context) {
			now, err := r.Load(ctx, eventstore.LoadCheckpointRequest{Name: "billing"})
			require.NoError(t, err)
			require.Equal(t, before.Checkpoint.Place, now.Checkpoint.Place)
		}
		require.NoError(t, store.Run(t.Context(), r.subscription()))
		require.Equal(t, []uint64{1, 3, 2}, r.applied)
		request := collect(t, store.ReadStream(t.Context(), parkStream, eventstore.ReadOptions{After: 1, Limit: 1}))[0]
		require.Equal(t, []string{eventstore.RetriedName(request.ID)}, r.names)
		require.Equal(t, []string{"billing"}, r.stored(t), "it is deleted")
		require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
	})
}

func TestARetriedBatchThatFailsIsParkedAnewAndHandledByTheNextRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newScripted().open(t, nil)
		r := newTarget()
		retryRequested(t, store, r)
		r.fails[2] = true
		require.NoError(t, store.Run(t.Context(), r.subscription()))
		require.Equal(t, eventstore.ParkedWaiting, onlyParked(t, store).State)
		delete(r.fails, 2)
		require.NoError(t, store.RetryParked(t.Context(), parkStream, onlyParked(t, store)))
		require.NoError(t, store.Run(t.Context(), r.subscription()))
		require.Equal(t, []uint64{1, 3, 2}, r.applied)
	})
}

// What is lost with a process that is killed between the two is the result alone.
func TestAnEventThatWasHandledWithoutARecordedResultHasItsEffectOnce(t *testing.T) {
	for name, lost := range map[string]string{"before the result is stored": "", "after it is stored": "stored"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newScripted()
				store := backend.open(t, nil)
				r := newTarget()
				retryRequested(t, store, r)
				ctx, kill := context.WithCancel(t.Context())
				backend.append = func(ctx context.Context, _ int, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
					if lost != "" {
						if _, err := backend.Backend.Append(ctx, req); err != nil {
							return nil, err
						}
					}
					kill()
					return nil, errors.New("killed")
				}
				require.Error(t, store.Run(ctx, r.subscription()))
				require.Equal(t, []uint64{1, 3, 2}, r.applied)
				require.Len(t, r.stored(t), 2, "the target's checkpoint tells that it is handled")
				backend.append = nil
				require.NoError(t, store.Run(t.Context(), r.subscription()))
				require.Equal(t, []uint64{1, 3, 2}, r.applied)
				require.Equal(t, eventstore.ParkedHandled, onlyParked(t, store).State)
			})
		})
	}
}

// An owner that was paused with a retried event in its hands is followed by another,
// which brings the retry to its result; then it wakes up.
func TestAPausedOwnerCannotSaveARetriedEvent(t *testing.T) {
	for name, fails := range map[string]bool{"its successor handled the event": false, "its successor failed on the event": true} {
		for at, point := range map[string]int{"in the handler": inHandler, "before it takes the event's lease": beforeLease} {
			t.Run(name+", it was paused "+at, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := memory.NewLog()
					first, second := process(t, log), process(t, log)
					r := newTarget()
					retryRequested(t, first, r)
					paused := &pausable{target: r, point: point, resume: make(chan struct{})}
					stale := r.subscription()
					stale.HandleBatch, stale.Checkpoints, stale.UntilCaughtUp = paused.handle, paused, false
					ctx, stop := context.WithCancel(t.Context())
					done := running(ctx, first, stale)
					if point == beforeLease {
						// It is fenced by a reset, and does not know: its time is not over.
						synctest.Wait()
						require.NoError(t, r.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: place(t, r), Reset: true}))
					} else {
						<-time.After(time.Minute) // its lease is over
					}
					r.failOn(2, fails)
					require.NoError(t, second.Run(t.Context(), r.subscription()))
					state := onlyParked(t, second).State
					r.failOn(2, false)
					applied := len(r.applied)
					close(paused.resume)
					<-time.After(time.Minute)
					stop()
					require.NoError(t, <-done)
					require.Len(t, r.applied, applied, "it changes nothing any more")
					require.Equal(t, state, onlyParked(t, second).State)
					if fails {
						require.NoError(t, second.RetryParked(t.Context(), parkStream, onlyParked(t, second)))
						require.NoError(t, second.Run(t.Context(), r.subscription()))
					}
					require.Equal(t, []uint64{1, 3, 2}, r.applied)
				})
			})
		}
	}
}

// place is where billing's checkpoint is.
func place(t *testing.T, r *target) eventstore.Checkpoint {
	t.Helper()
	stored, err := r.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "billing"})
	require.NoError(t, err)
	return stored.Checkpoint
}

const inHandler, beforeLease = 1, 2

// pausable is a target as a process sees it that stops at a point and later goes on.
type pausable struct {
	*target
	point  int
	once   sync.Once
	resume chan struct{}
	away   atomic.Bool
}

func (p *pausable) pause() {
	p.once.Do(func() {
		p.away.Store(true)
		<-p.resume
		p.away.Store(false)
	})
}

func (p *pausable) handle(ctx context.Context, batch eventstore.Batch) error {
	if p.point == inHandler {
		p.pause()
	}
	return p.target.handle(ctx, batch)
}

func (p *pausable) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	if p.away.Load() && req.Name == "billing" { // nothing of a paused process renews
		return eventstore.SwapLeaseResult{}, unavailable()
	}
	if p.point == beforeLease && req.Name != "billing" {
		p.pause()
	}
	return p.target.SwapLease(ctx, req)
}
