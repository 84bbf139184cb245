package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// What the checks of durable subscriptions are written with.

// running is a Run in a goroutine of its own.
type running struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // read it after ended
}

// startRun starts a durable subscription that saves and retries quickly unless
// it says otherwise. It ends with stop, or with the check.
func startRun(ctx context.Context, env *Env, store *eventstore.Store, sub eventstore.Subscription) *running {
	if sub.CheckpointInterval == 0 {
		sub.CheckpointInterval = 5 * time.Millisecond
	}
	if sub.Retry.Pause == 0 {
		sub.Retry.Pause, sub.Retry.MaxPause = time.Millisecond, 2*time.Millisecond
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = contain(func() error { return store.Run(ctx, sub) })
	}()
	env.OnClose(func() error {
		cancel()
		<-r.ended
		return nil
	})
	return r
}

// stop ends the subscription and returns an error unless it ended for that reason.
func (r *running) stop() error {
	r.cancel()
	<-r.ended
	if r.err != nil {
		return unexpected("end of a durable subscription whose context was cancelled", "no error", r.err)
	}
	return nil
}

// wait waits until the subscription ends by itself and returns its error.
func (r *running) wait(ctx context.Context) error {
	ctx, cancel := within(ctx, patience)
	defer cancel()
	if err := waitFor(ctx, "the end of a durable subscription", r.ended); err != nil {
		return err
	}
	if r.err == nil {
		return errors.New("expected a durable subscription to end with an error, got none")
	}
	return r.err
}

// alive is an error once the subscription has ended.
func (r *running) alive() error {
	select {
	case <-r.ended:
		return fmt.Errorf("the durable subscription ended: %w", r.err)
	default:
		return nil
	}
}

// recorder is a handler that keeps what it handled.
type recorder struct {
	mu       sync.Mutex
	finished []eventstore.RecordedEvent
}

func (r *recorder) handle(_ context.Context, event eventstore.RecordedEvent) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = append(r.finished, event)
	return nil
}

// events returns what was handled so far.
func (r *recorder) events() []eventstore.RecordedEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.finished[:len(r.finished):len(r.finished)]
}

// last is the position of the last event that was handled.
func (r *recorder) last() eventstore.Position {
	events := r.events()
	if len(events) == 0 {
		return eventstore.Position{}
	}
	return events[len(events)-1].Position
}

// waitEvents waits until n events were handled.
func (r *recorder) waitEvents(ctx context.Context, running *running, n int) error {
	ctx, cancel := within(ctx, patience)
	defer cancel()
	err := eventually(ctx, "events of a durable subscription", func() (bool, error) {
		if len(r.events()) >= n {
			return true, nil
		}
		return false, running.alive()
	})
	if err != nil {
		return fmt.Errorf("expected %d handled events, got %d: %w", n, len(r.events()), err)
	}
	return nil
}

// checkpointSpy watches each save: it must move forward, must not pass what was
// handled, and what is stored afterwards must not either. From the save number
// crashAfter on, saves are lost as they are when a process is killed before them.
type checkpointSpy struct {
	eventstore.Checkpoints
	handled    func() eventstore.Position
	crashAfter int // 0 loses none

	mu    sync.Mutex
	saved []eventstore.Position
	wrong error
}

func (s *checkpointSpy) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	c := req.Checkpoint
	handled := s.handled() // before the save, so that what is handled meanwhile excuses nothing
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crashAfter > 0 && len(s.saved) >= s.crashAfter {
		return nil
	}
	switch {
	case handled.Before(c.Place.Position):
		s.note(unexpected("saved checkpoint", "at most "+handled.String()+", up to where events were handled", c.Place.Position))
	case len(s.saved) > 0 && c.Place.Position.Before(s.saved[len(s.saved)-1]): // one that was cut short is saved again
		s.note(unexpected("saved checkpoint", "none before the saved "+s.saved[len(s.saved)-1].String(), c.Place.Position))
	}
	s.saved = append(s.saved, c.Place.Position)
	if err := s.Checkpoints.Save(ctx, req); err != nil {
		return err
	}
	stored, err := s.Load(ctx, eventstore.LoadCheckpointRequest{Name: c.Name})
	if err != nil {
		return err
	}
	if !stored.Found || stored.Checkpoint != c {
		s.note(unexpected("checkpoint that is stored after a save", fmt.Sprintf("%+v", c), fmt.Sprintf("%+v", stored)))
	}
	return nil
}

func (s *checkpointSpy) note(err error) {
	if s.wrong == nil {
		s.wrong = err
	}
}

// saves counts the saves that were not lost.
func (s *checkpointSpy) saves() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.saved)
}

// verdict is the first thing that was wrong, or an error if nothing was saved.
func (s *checkpointSpy) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrong == nil && len(s.saved) == 0 {
		return unexpected("saves of a checkpoint", "at least one", 0)
	}
	return s.wrong
}

// stored reads a subscription's checkpoint; the zero position where there is none.
func stored(ctx context.Context, store *eventstore.Store, name string) (eventstore.Position, error) {
	checkpoint, _, err := store.LoadCheckpoint(ctx, name)
	return checkpoint.Place.Position, err
}

// handlerError returns the *HandlerError that a subscription ended with, which
// must name this event.
func handlerError(err error, name string, event eventstore.RecordedEvent, attempts int) (*eventstore.HandlerError, error) {
	var failure *eventstore.HandlerError
	if !errors.As(err, &failure) {
		return nil, unexpected("error of a subscription whose handler fails", "a *HandlerError", fmt.Sprintf("%v", err))
	}
	want := eventstore.HandlerError{
		Subscription: name, Stream: event.Stream, EventID: event.ID, Version: event.Version,
		Position: event.Position, Attempts: attempts, Err: failure.Err,
	}
	if *failure != want {
		return nil, unexpected("facts of a HandlerError", fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", *failure))
	}
	return failure, nil
}
