package eventstore

import (
	"context"
	"errors"
	"fmt"
)

// Run handles a durable subscription's events until ctx is done, and starts where
// its checkpoint left off. The checkpoint never passes an event that is not
// finished or parked, and is saved once more when Run ends.
//
// Of one name one process at a time handles events: Run takes the subscription's
// lease, waits while another process has it, and takes over when that ends or has
// not been heard of for LeaseTTL. An owner that was paused for longer finds its
// lease lost: it cannot save, and waits in its turn; the event in its hands may by
// then have been handled by the next owner too.
//
// A checkpoint of the store that this one was moved from is translated to the same
// event's place here, and stored so; see [OriginName].
//
// A failing or panicking handler is tried again as Retry says; then the event is
// parked, or Run stops. Parked events whose retry was asked for ([Store.RetryParked])
// are handled first, whenever Run has got the lease, and out of their order. While the backend, or what keeps the checkpoints, is slow
// or away, Run waits and goes on.
//
// Run returns nil when ctx ends, or at the head where UntilCaughtUp asks for
// that, once the checkpoint is saved; ErrClosed when the store is closed, whatever the handler is doing. Any
// other error is why it had to stop: a *HandlerError; ErrForeignCheckpoint or
// ErrCheckpointAhead, at the start or when a lost backend returns with another
// past; ErrLateArrival; ErrSealed where a handler or the park stream met it;
// ErrAlreadyRunning where this Store runs the name already; ErrInvalid;
// ErrUnsupported; or the backend's own that no waiting will cure.
func (s *Store) Run(ctx context.Context, sub Subscription) error {
	return opError("run subscription", sub.Name, s.run(ctx, sub))
}

func (s *Store) run(ctx context.Context, sub Subscription) error {
	sub, err := s.checkSubscription(ctx, sub)
	switch {
	case err != nil && isContextError(err):
		return nil // it ended before Run began
	case err != nil:
		return err
	}
	stopped, err := s.startRunning(sub.Name)
	if err != nil {
		return err
	}
	defer stopped()
	ctx, cancel := s.untilClosed(ctx)
	defer cancel()
	for {
		err := s.own(ctx, sub)
		if errors.Is(err, errTranslated) && ctx.Err() == nil {
			s.logger.InfoContext(ctx, "subscription goes on in the store that its own was moved to", "subscription", sub.Name)
			continue
		}
		if errors.Is(err, ErrLeaseLost) && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "subscription lost its lease and waits for it", "subscription", sub.Name, "error", err)
			continue
		}
		switch {
		case errors.Is(context.Cause(ctx), ErrClosed):
			return withFailure(ErrClosed, err)
		case ctx.Err() != nil && (isContextError(err) || errors.Is(err, ErrLeaseLost) || errors.Is(err, errTranslated)):
			return nil
		}
		return err
	}
}

// withFailure is why Run ends, and beside it the handler's failure where that was met
// at the same time.
func withFailure(reason, err error) error {
	var failure *HandlerError
	if errors.As(err, &failure) {
		return errors.Join(reason, failure)
	}
	return reason
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// startRunning refuses a name that this Store runs already.
func (s *Store) startRunning(name string) (stopped func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if _, runs := s.running[name]; runs {
		return nil, fmt.Errorf("%w: run a name once in a Store", ErrAlreadyRunning)
	}
	s.running[name] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.running, name)
		if s.closed.Load() && len(s.running) == 0 {
			close(s.idle)
		}
	}, nil
}

// own handles events for as long as this process has the subscription's lease.
func (s *Store) own(ctx context.Context, sub Subscription) error {
	held, err := s.takeLease(ctx, sub)
	if err != nil {
		return err
	}
	whole := ctx
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	stopRenewing := held.renew(ctx, lost)
	err = s.handleFromCheckpoint(ctx, sub, held)
	stopRenewing()
	if cause := context.Cause(ctx); cause != nil && whole.Err() == nil {
		return withFailure(cause, err) // the lease was lost, or can be renewed no more
	}
	held.release(ctx) // which changes nothing where another process has it
	return err
}

// handleFromCheckpoint handles events from where the checkpoint is, and saves it.
func (s *Store) handleFromCheckpoint(ctx context.Context, sub Subscription, held *heldLease) error {
	stored, err := patiently(ctx, s, sub.Name, func() (LoadCheckpointResult, error) {
		return sub.Checkpoints.Load(ctx, LoadCheckpointRequest{Name: sub.Name})
	})
	if err != nil {
		return err
	}
	// After the checkpoint, which is then not ahead of it.
	info, err := patiently(ctx, s, sub.Name, func() (Info, error) { return s.backend.Info(ctx) })
	if err != nil {
		return err
	}
	after := Place{Position: sub.After}
	if stored.Found {
		after = stored.Checkpoint.Place
		if stored.Checkpoint.Store != info.ID {
			return s.takeOver(ctx, sub, stored.Checkpoint, info)
		}
	}
	w := &worker{store: s, sub: sub, held: held}
	if err := w.insist(ctx, func() error { return s.checkPlace(ctx, named(stored.Found, sub.Name), after, info) }); err != nil {
		return err
	}
	if err := w.retryParked(ctx, info, after.Position); err != nil {
		return err
	}
	w.progress = startProgress(ctx, s, sub, Checkpoint{Name: sub.Name, Store: info.ID, Place: after, Epoch: held.epoch}, stored.Found)
	defer w.progress.stop()
	return w.progress.finish(s.handleAll(w.progress.ctx, after, w))
}

// named is the name of a checkpoint that exists.
func named(found bool, name string) string {
	if found {
		return name
	}
	return ""
}

// patiently calls what is safe to repeat until it is answered: a backend that is
// slow or away never ends Run, also where it says so by a deadline of its own.
func patiently[T any](ctx context.Context, s *Store, name string, call func() (T, error)) (T, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		result, err := call()
		switch {
		case err == nil || (!passes(err) && !isContextError(err)):
			return result, err
		case ctx.Err() != nil:
			return result, ended(ctx)
		}
		s.logger.WarnContext(ctx, "subscription waits for its backend", "subscription", name, "error", err)
		if sleep(ctx, pause) != nil {
			return result, ended(ctx)
		}
	}
}

// handleAll handles every event after a place, across losses of the backend.
func (s *Store) handleAll(ctx context.Context, after Place, w *worker) error {
	ctx, cancel := context.WithCancel(ctx)
	box := newInbox()
	received := make(chan struct{})
	go func() {
		defer close(received)
		box.end(s.receive(ctx, w.sub, after, box))
	}()
	defer func() {
		cancel()
		<-received
	}()
	return w.all(ctx, box)
}

// receive puts a subscription's messages into the inbox until ctx is done or the
// subscription ends for another reason than a lost backend.
func (s *Store) receive(ctx context.Context, sub Subscription, after Place, box *inbox) (err error) {
	defer func() {
		// In this goroutine nobody could recover a backend's panic.
		if value := recover(); value != nil {
			err = fmt.Errorf("the backend panicked: %v", value)
		}
	}()
	pause := firstPause
	for {
		err := s.subscribe(ctx, sub.Name, after, sub.Filter, func(m Message) bool {
			pause = firstPause
			after = m.Place
			return box.put(ctx, m)
		})
		if ctx.Err() != nil {
			return ended(ctx)
		}
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
		s.logger.WarnContext(ctx, "subscription waits for its backend", "subscription", sub.Name, "after", after.Position, "error", err)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}
