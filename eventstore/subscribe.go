package eventstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// MessageKind tells what a [Message] carries.
type MessageKind uint8

const (
	// MessageEvent carries an event.
	MessageEvent MessageKind = iota + 1
	// MessageProgress says that everything up to its position was considered and
	// did not match the filter; it is a place to resume from.
	MessageProgress
	// MessageCaughtUp says that everything stored when the subscription looked
	// has been delivered. It comes once for each connection to the backend.
	MessageCaughtUp
)

// Message is what a subscription yields: an event or a signal.
type Message struct {
	Kind MessageKind
	// Event is set where Kind is MessageEvent.
	Event RecordedEvent
	// Position is where to resume after this message.
	Position Position
}

// SubscribeOptions says what to subscribe to. The zero value is everything,
// from the first event.
type SubscribeOptions struct {
	// After is exclusive; the zero Position starts with the first event.
	After  Position
	Filter Filter
}

// Subscribe yields every event after a position in the global order, each once:
// first what is stored, then what comes, until ctx is done. The loop's body sets
// the pace; a slow one costs no memory and holds up no writer.
//
// A lost backend is resumed after the last message with growing pauses, for as
// long as [Options].RetryFor allows without a message. The last pair holds the
// reason why it ended: the context's error, ErrClosed, ErrInvalid or
// ErrUnavailable.
func (s *Store) Subscribe(ctx context.Context, opts SubscribeOptions) iter.Seq2[Message, error] {
	return single(func(yield func(Message, error) bool) {
		err := s.subscribe(ctx, opts, func(m Message) bool { return yield(m, nil) })
		if err != nil {
			yield(Message{}, opError("subscribe", "", err))
		}
	})
}

// subscribe calls yield for each message until it returns false (then the error
// is nil) or the subscription ends.
func (s *Store) subscribe(ctx context.Context, opts SubscribeOptions, yield func(Message) bool) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.checkFilter(opts.Filter); err != nil {
		return err
	}
	ctx, cancel := s.untilClosed(ctx)
	defer cancel()
	retry := s.newRetry()
	req := SubscribeRequest{After: opts.After, Filter: opts.Filter, PageSize: s.pageSize()}
	for {
		var lost error
		for message, err := range s.backend.Subscribe(ctx, req) {
			if err != nil {
				lost = err
				break
			}
			retry = s.newRetry()
			req.After = message.Position
			if !yield(message) {
				return nil
			}
			if ctx.Err() != nil {
				return ended(ctx)
			}
		}
		switch {
		case ctx.Err() != nil:
			return ended(ctx)
		case lost == nil:
			lost = errors.New("the backend ended the subscription without a reason")
		}
		if !errors.Is(lost, ErrUnavailable) {
			return lost
		}
		s.logger.WarnContext(ctx, "subscription lost its backend; resuming", "after", req.After, "error", lost)
		if !retry.wait(ctx) {
			return retry.giveUp(ctx, lost)
		}
	}
}

// untilClosed returns a context that also ends, with the cause ErrClosed, when
// the store is closed.
func (s *Store) untilClosed(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.lifetime, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// ended returns why a context is done: ErrClosed where the store was closed.
func ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return ctx.Err()
}

// retry paces the attempts of one operation.
type retry struct {
	within time.Duration
	until  time.Time // set by the first wait: most operations never fail
	pause  time.Duration
	closed <-chan struct{}
}

const firstPause, longestPause = 10 * time.Millisecond, time.Second

func (s *Store) newRetry() retry {
	return retry{within: s.options.RetryFor, pause: firstPause, closed: s.lifetime.Done()}
}

// wait pauses before the next attempt. It returns false where there is to be none.
func (r *retry) wait(ctx context.Context) bool {
	if r.until.IsZero() {
		r.until = time.Now().Add(r.within)
	}
	if time.Now().Add(r.pause).After(r.until) {
		return false
	}
	timer := time.NewTimer(jitter(r.pause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-r.closed:
		return false
	case <-timer.C:
	}
	r.pause = min(2*r.pause, longestPause)
	return true
}

// giveUp returns the error for an operation that is not tried again.
func (r *retry) giveUp(ctx context.Context, last error) error {
	select {
	case <-r.closed:
		return fmt.Errorf("%w: %w", ErrClosed, last)
	default:
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ended(ctx), last)
	}
	return last
}
