package eventstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Subscription is a durable subscription for [Store.Run].
type Subscription struct {
	// Name identifies the subscription's checkpoint: 1–255 bytes.
	Name string
	// Handler is called with each event, one at a time, in the global order. An
	// event is finished when Handler returns nil. Delivery is at least once: an
	// event may come again after a crash, so Handler must bear repetition.
	Handler func(ctx context.Context, event RecordedEvent) error
	// Filter selects events.
	Filter Filter
	// After is where a subscription without a checkpoint begins; the zero
	// Position is the first event.
	After Position
	// Checkpoints keeps the progress; nil means the store's own.
	Checkpoints Checkpoints
	// CheckpointEvery saves the checkpoint after so many finished events; 0 means 100.
	CheckpointEvery int
	// CheckpointInterval saves the checkpoint, if it moved, after this time at
	// the latest; 0 means 1 s.
	CheckpointInterval time.Duration
	// Retry says how often an event is tried.
	Retry HandlerRetry
	// ParkStream, where not empty, is the stream that takes a link to each event
	// that failed for good; the subscription then goes on. Empty means that Run
	// stops with a [HandlerError]. Events of this stream are not handled.
	ParkStream string
}

// HandlerRetry says how often and how fast a failing event is handled again.
type HandlerRetry struct {
	// Attempts counts the first one too; 0 means 5.
	Attempts int
	// Pause is the wait after the first failure; it doubles up to MaxPause.
	// Zero means 100 ms, and 10 s for MaxPause.
	Pause, MaxPause time.Duration
}

// HandlerError says which event a handler failed on for good.
type HandlerError struct {
	Subscription string
	Stream       string
	EventID      uuid.UUID
	Version      uint64
	Position     Position
	Attempts     int
	// Err is the handler's last error; a [PanicError] where it panicked.
	Err error
}

func (e *HandlerError) Error() string {
	return fmt.Sprintf("subscription %q: event %s (version %d of stream %q) failed %d times: %s", clip(e.Subscription), e.EventID, e.Version, e.Stream, e.Attempts, e.Err)
}

// Unwrap returns the handler's last error.
func (e *HandlerError) Unwrap() error { return e.Err }

// PanicError is a handler's panic.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// ParkedType is the type of the events that link to a parked event. Their data
// is JSON with the fields of [Parked].
const ParkedType = "EventParked"

// Parked is the link to an event that a subscription's handler failed on for good.
type Parked struct {
	Subscription string    `json:"subscription"`
	Stream       string    `json:"stream"`
	Version      uint64    `json:"version"`
	Position     Position  `json:"position"`
	EventID      uuid.UUID `json:"eventId"`
	Error        string    `json:"error"`
}

// Run handles events until ctx is done, and starts where the subscription's
// checkpoint left off. The checkpoint never passes an event that is not
// finished or parked, and is saved once more when Run ends.
//
// A failing or panicking handler is tried again as Retry says; then the event is
// parked, or Run stops. While the backend is unavailable Run waits and resumes.
//
// Errors: the context's error; a *HandlerError; ErrForeignCheckpoint or
// ErrCheckpointAhead, before any event is handled; ErrInvalid; ErrClosed.
// One process at a time should run a name: two would handle events twice.
func (s *Store) Run(ctx context.Context, sub Subscription) error {
	return opError("run subscription", sub.Name, s.run(ctx, sub))
}

func (s *Store) run(ctx context.Context, sub Subscription) error {
	sub, err := s.checkSubscription(ctx, sub)
	if err != nil {
		return err
	}
	if err := s.checkFilter(sub.Filter); err != nil {
		return err
	}
	info, err := s.info(ctx)
	if err != nil {
		return err
	}
	checkpoint, ok, err := s.loadCheckpoint(ctx, sub.Checkpoints, sub.Name)
	if err != nil {
		return err
	}
	after := sub.After
	if ok {
		after = checkpoint.Position
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	progress := startProgress(ctx, s, sub, info.ID, checkpoint.Position, cancel)
	err = s.handleAll(ctx, sub, after, progress)
	if unsaved := progress.finish(ctx); unsaved != nil {
		return unsaved
	}
	return err
}

// handleAll handles every event after a position, across losses of the backend.
func (s *Store) handleAll(ctx context.Context, sub Subscription, after Position, progress *progress) error {
	pause := firstPause
	for {
		var failed error
		err := s.subscribe(ctx, SubscribeOptions{After: after, Filter: sub.Filter}, func(m Message) bool {
			pause = firstPause
			if m.Kind == MessageEvent && (sub.ParkStream == "" || m.Event.Stream != sub.ParkStream) {
				if failed = s.handle(ctx, sub, m.Event); failed != nil {
					return false
				}
			}
			after = m.Position
			progress.advance(after, m.Kind == MessageEvent)
			return true
		})
		if failed != nil {
			return failed
		}
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
		s.logger.WarnContext(ctx, "subscription waits for its backend", "subscription", sub.Name, "after", after, "error", err)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// handle brings one event to an end: handled, parked, or an error.
func (s *Store) handle(ctx context.Context, sub Subscription, event RecordedEvent) error {
	pause := sub.Retry.Pause
	for attempt := 1; ; attempt++ {
		err := call(ctx, sub.Handler, event)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err() // a handler that was told to stop has not failed
		}
		s.logger.WarnContext(ctx, "handler failed", "subscription", sub.Name, "event", event.ID, "position", event.Position, "attempt", attempt, "error", err)
		if attempt >= sub.Retry.Attempts {
			failure := &HandlerError{
				Subscription: sub.Name, Stream: event.Stream, EventID: event.ID,
				Version: event.Version, Position: event.Position, Attempts: attempt, Err: err,
			}
			if sub.ParkStream == "" {
				return failure
			}
			return s.park(ctx, sub.ParkStream, failure)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, sub.Retry.MaxPause)
	}
}

// call calls a handler and turns its panic into an error.
func call(ctx context.Context, handler func(context.Context, RecordedEvent) error, event RecordedEvent) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return handler(ctx, event)
}

// Link returns the event that parks the failed one: of [ParkedType], with the data
// of [Parked]. Its ID is made from the subscription's and the event's, so parking
// twice stores one link: appending it again with another error text is refused
// with ErrEventIDReused, and the link is there.
func (e *HandlerError) Link() (Event, error) {
	link, err := JSONEvent(ParkedType, Parked{
		Subscription: e.Subscription, Stream: e.Stream, Version: e.Version,
		Position: e.Position, EventID: e.EventID, Error: clip(e.Err.Error()),
	})
	link.ID = uuid.NewSHA1(e.EventID, []byte(e.Subscription+"\x00"+e.Stream))
	return link, err
}

// park appends a link to the failed event.
func (s *Store) park(ctx context.Context, stream string, failure *HandlerError) error {
	link, err := failure.Link()
	if err == nil {
		_, err = s.Append(ctx, stream, Any(), link)
	}
	if errors.Is(err, ErrEventIDReused) {
		return nil // parked before
	}
	return err
}

func (s *Store) checkSubscription(ctx context.Context, sub Subscription) (Subscription, error) {
	if err := s.checkCheckpointName(ctx, sub.Name); err != nil {
		return sub, err
	}
	switch {
	case sub.Handler == nil:
		return sub, invalid("handler", "it is nil; give the function that handles an event")
	case sub.CheckpointEvery < 0, sub.CheckpointInterval < 0, sub.Retry.Attempts < 0, sub.Retry.Pause < 0, sub.Retry.MaxPause < 0:
		return sub, invalid("subscription", "a number or duration is negative; zero means the default")
	}
	if sub.ParkStream != "" {
		if err := s.checkName("park stream", sub.ParkStream, s.limits.MaxStreamBytes); err != nil {
			return sub, err
		}
	}
	if sub.Checkpoints == nil {
		sub.Checkpoints = s.backend.Checkpoints()
	}
	sub.CheckpointEvery = cmp.Or(sub.CheckpointEvery, 100)
	sub.CheckpointInterval = cmp.Or(sub.CheckpointInterval, time.Second)
	sub.Retry.Attempts = cmp.Or(sub.Retry.Attempts, 5)
	sub.Retry.Pause = cmp.Or(sub.Retry.Pause, 100*time.Millisecond)
	sub.Retry.MaxPause = cmp.Or(sub.Retry.MaxPause, 10*time.Second)
	return sub, nil
}

// sleep waits a jittered pause, or returns the context's error.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(jitter(pause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// progress saves a subscription's checkpoint beside its handler, so that an
// idle subscription is saved too.
type progress struct {
	store *Store
	sub   Subscription
	id    uuid.UUID
	stop  context.CancelFunc
	full  chan struct{}
	done  chan struct{}
	err   error // why saving ended early; read after done

	mu       sync.Mutex
	reached  Position
	finished int // events since the last save
	saved    Position
}

// saveTimeout bounds one save of a checkpoint, and so how long Run takes to end.
const saveTimeout = 5 * time.Second

func startProgress(ctx context.Context, s *Store, sub Subscription, id uuid.UUID, saved Position, stop context.CancelFunc) *progress {
	p := &progress{store: s, sub: sub, id: id, saved: saved, stop: stop, full: make(chan struct{}, 1), done: make(chan struct{})}
	go p.loop(ctx)
	return p
}

// advance notes that everything up to a position is finished.
func (p *progress) advance(to Position, event bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reached = to
	if event {
		p.finished++
	}
	if p.finished >= p.sub.CheckpointEvery {
		p.finished = 0
		select {
		case p.full <- struct{}{}:
		default: // a save is due already
		}
	}
}

func (p *progress) loop(ctx context.Context) {
	defer close(p.done)
	tick := time.NewTicker(p.sub.CheckpointInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.full:
		case <-tick.C:
		}
		err := p.save(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, ErrUnavailable):
			p.store.logger.WarnContext(ctx, "checkpoint not saved; trying again", "subscription", p.sub.Name, "error", err)
		default:
			p.err = err
			p.stop()
			return
		}
	}
}

// finish saves once more, even though ctx is done. Its error says that the
// checkpoint could not be saved.
func (p *progress) finish(ctx context.Context) error {
	p.stop()
	<-p.done
	if p.err != nil {
		return fmt.Errorf("save checkpoint: %w", p.err)
	}
	err := p.save(ctx)
	if err == nil || errors.Is(err, ErrClosed) {
		return nil // a closed store keeps the last saved checkpoint: events may come again
	}
	return fmt.Errorf("save checkpoint: %w", err)
}

func (p *progress) save(ctx context.Context) error {
	p.mu.Lock()
	reached := p.reached
	p.mu.Unlock()
	if !p.saved.Before(reached) {
		return nil
	}
	// A save that was cut short might be stored all the same, and be made again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := p.sub.Checkpoints.Save(ctx, Checkpoint{Name: p.sub.Name, Store: p.id, Position: reached})
	if err == nil {
		p.saved = reached
	}
	return err
}
