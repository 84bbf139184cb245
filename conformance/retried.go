package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// retriedChecks are about parked events that are handled once more.
func retriedChecks() []Check {
	return []Check{
		needs(NeedsOpenAgain, durableCheck("retry-parked", 19, false, "A parked event whose retry was asked for is handled once, by the next session and before what follows; the result is recorded, and the checkpoint stays.", retryParked)),
		needs(NeedsOpenAgain, durableCheck("retry-parked-batch", 19, false, "A retried event's batch carries a checkpoint and a lease of its own name: a target that saves it has the effect once, across a crash before the result is recorded, and an earlier owner cannot save it.", retryParkedBatch)),
	}
}

// requestRetry writes events, parks the one in the middle by one handle, and asks for its
// retry by another.
func requestRetry(ctx context.Context, env *Env) (stores [2]*eventstore.Store, bad eventstore.RecordedEvent, err error) {
	stores, err = twoHandles(ctx, env)
	if err != nil {
		return stores, bad, err
	}
	all, err := writeLog(ctx, env, 6, env.Store)
	if err != nil {
		return stores, bad, err
	}
	bad = all[len(all)/2]
	var handled recorder
	session := startRun(ctx, env, stores[0], parkingSubscription(env, &handled, bad))
	if err := handled.waitEvents(ctx, session, len(all)-1); err != nil {
		return stores, bad, err
	}
	if err := session.stop(); err != nil {
		return stores, bad, err
	}
	parked, err := onlyParked(ctx, env, stores[1], eventstore.ParkedWaiting)
	if err != nil {
		return stores, bad, err
	}
	for range 2 { // asking twice is asking once
		if err := stores[1].RetryParked(ctx, env.StreamID("Parked", 901), parked); err != nil {
			return stores, bad, err
		}
	}
	_, err = onlyParked(ctx, env, stores[0], eventstore.ParkedRetryRequested)
	return stores, bad, err
}

// onlyParked returns the one event that the park stream tells of, in a state.
func onlyParked(ctx context.Context, env *Env, store *eventstore.Store, state eventstore.ParkedState) (eventstore.ParkedEvent, error) {
	parked, err := store.ParkedEvents(ctx, env.StreamID("Parked", 901))
	switch {
	case err != nil:
		return eventstore.ParkedEvent{}, err
	case len(parked) != 1:
		return eventstore.ParkedEvent{}, unexpected("parked events", 1, len(parked))
	case parked[0].State != state:
		return parked[0], unexpected("state of a parked event", state, fmt.Sprintf("%s (last error %q)", parked[0].State, parked[0].Error))
	}
	return parked[0], nil
}

func retryParked(ctx context.Context, env *Env) error {
	stores, bad, err := requestRetry(ctx, env)
	if err != nil {
		return err
	}
	at, err := stored(ctx, env.Store, "patient")
	if err != nil {
		return err
	}
	next, err := env.Store.Append(ctx, env.StreamID("Order", 902), eventstore.NoStream(), env.Event("Happened"))
	if err != nil {
		return err
	}
	want := slices.Concat([]eventstore.RecordedEvent{bad}, next.Events)
	for session := range 2 {
		var handled recorder
		sub := parkingSubscription(env, &handled, eventstore.RecordedEvent{})
		sub.UntilCaughtUp = true
		sub.Handler = func(ctx context.Context, event eventstore.RecordedEvent) error {
			if event.Position != bad.Position {
				return handled.handle(ctx, event)
			}
			now, err := stored(ctx, env.Store, "patient")
			if err == nil && now != at {
				err = unexpected("checkpoint while a retried event is handled", at, now)
			}
			return errors.Join(err, handled.handle(ctx, event))
		}
		if err := stores[1-session].Run(ctx, sub); err != nil {
			return err
		}
		if err := expectSame(fmt.Sprintf("what session %d after the request of a retry handled", session+1), want, handled.events()); err != nil {
			return err
		}
		if _, err := onlyParked(ctx, env, stores[session], eventstore.ParkedHandled); err != nil {
			return err
		}
		want = nil
	}
	return nil
}

// target is a read model that keeps checkpoints in the store under test. What it
// applies and saves is one step where a session is killed after it.
type target struct {
	eventstore.Checkpoints
	mu      sync.Mutex
	applied []eventstore.RecordedEvent
	saved   []eventstore.Checkpoint
}

func (t *target) handle(ctx context.Context, batch eventstore.Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, err := t.Load(ctx, eventstore.LoadCheckpointRequest{Name: batch.Checkpoint.Name})
	if err != nil {
		return err
	}
	if err := t.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: batch.Checkpoint}); err != nil {
		return err
	}
	t.saved = append(t.saved, batch.Checkpoint)
	for _, event := range batch.Events {
		if !found.Found || found.Checkpoint.Place.Position.Before(event.Position) {
			t.applied = append(t.applied, event)
		}
	}
	return nil
}

func retryParkedBatch(ctx context.Context, env *Env) error {
	stores, bad, err := requestRetry(ctx, env)
	if err != nil {
		return err
	}
	read := &target{Checkpoints: env.Fixture.Backend.Records().Checkpoints}
	sub := parkingSubscription(env, nil, bad)
	sub.Handler, sub.UntilCaughtUp = nil, true
	killed, kill := context.WithCancel(ctx)
	defer kill()
	sub.HandleBatch = func(ctx context.Context, batch eventstore.Batch) error {
		err := read.handle(ctx, batch)
		kill() // so that the result is not recorded
		return err
	}
	if err := stores[0].Run(killed, sub); err != nil {
		return err
	}
	if _, err := onlyParked(ctx, env, env.Store, eventstore.ParkedRetryRequested); err != nil {
		return fmt.Errorf("after a session that ended before the result was recorded: %w", err)
	}
	sub.HandleBatch = read.handle
	if err := stores[1].Run(ctx, sub); err != nil {
		return err
	}
	if _, err := onlyParked(ctx, env, env.Store, eventstore.ParkedHandled); err != nil {
		return err
	}
	if err := expectSame("what a target applied of a retried event", []eventstore.RecordedEvent{bad}, read.applied); err != nil {
		return err
	}
	return expectOver(ctx, read)
}

// expectOver returns an error unless the checkpoint of a retried event is gone and
// nobody can save it any more.
func expectOver(ctx context.Context, read *target) error {
	first := read.saved[0]
	list, err := read.List(ctx, eventstore.ListCheckpointsRequest{Limit: 1000})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list.Checkpoints, func(c eventstore.Checkpoint) bool { return c.Name == first.Name }) {
		return unexpected("checkpoints after a retried event's result", "none of "+first.Name, fmt.Sprintf("%+v", list.Checkpoints))
	}
	for _, saved := range read.saved {
		if saved.Name != first.Name {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := read.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: saved})
		cancel()
		if err := expectError("a save by an owner of a retried event after its result", err, eventstore.ErrLeaseLost); err != nil {
			return err
		}
	}
	return nil
}
