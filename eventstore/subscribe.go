package eventstore

import (
	"context"
	"errors"
	"iter"
)

// MessageKind tells what a [Message] carries.
type MessageKind uint8

const (
	// MessageEvent carries an event.
	MessageEvent MessageKind = iota + 1
	// MessageProgress says that everything up to its place was considered and did
	// not match the filter; it is a place to resume from.
	MessageProgress
	// MessageCaughtUp says that everything stored when the subscription began has
	// been delivered. It comes once for each connection to the backend.
	MessageCaughtUp
	// MessageSealed says that the store is sealed and its last event was delivered.
	// It comes once for each connection and seal; if the seal is lifted the
	// subscription goes on.
	MessageSealed
)

// Message is what a subscription yields: an event or a signal.
type Message struct {
	Kind MessageKind
	// Event is set where Kind is MessageEvent.
	Event RecordedEvent
	// Place is where to resume after this message: an event's place, or what the
	// subscription was asked to begin after where nothing was considered yet.
	Place Place
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
// long as [Options].RetryFor allows without a message, once it has shown that it
// still holds what was delivered. The last pair holds the reason why it ended: the
// context's error, ErrClosed, ErrInvalid, ErrUnsupported, ErrUnavailable;
// ErrCheckpointAhead where After, or what was delivered, lies after the store's
// last event; ErrForeignCheckpoint where the store holds another event in place of
// the last one delivered, as after a restored backup.
func (s *Store) Subscribe(ctx context.Context, opts SubscribeOptions) iter.Seq2[Message, error] {
	return single(func(yield func(Message, error) bool) {
		err := s.subscribe(ctx, "", Place{Position: opts.After}, opts.Filter, func(m Message) bool { return yield(m, nil) })
		if err != nil {
			yield(Message{}, opError("subscribe", "", err))
		}
	})
}

// subscribe calls yield for each message until it returns false (then the error
// is nil) or the subscription ends. name is that of a durable subscription.
func (s *Store) subscribe(ctx context.Context, name string, after Place, filter Filter, yield func(Message) bool) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.checkFilter(filter); err != nil {
		return err
	}
	ctx, cancel := s.untilClosed(ctx)
	defer cancel()
	ctx = s.traceStart(ctx, TraceStart{Operation: OperationSubscribe, Subscription: name})
	count := 0
	var err error
	defer func() { s.traceEnd(ctx, TraceEnd{Operation: OperationSubscribe, Events: count, Err: err}) }()
	err = s.connections(ctx, SubscribeRequest{After: after, Filter: filter.clone(), PageSize: s.pageSize()}, func(m Message) bool {
		if m.Kind == MessageEvent {
			count++
		}
		return yield(m)
	})
	return err
}

// connections subscribes, and subscribes again after the last message when the
// backend was lost. Each time it first holds the place to resume from against the
// store: what answers now need not be what answered before.
func (s *Store) connections(ctx context.Context, req SubscribeRequest, yield func(Message) bool) error {
	retry := s.newRetry()
	for {
		lost := s.resumable(ctx, req.After)
		if lost == nil {
			lost = errors.New("the backend ended the subscription without a reason")
			for message, err := range s.backend.Subscribe(ctx, req) {
				if err != nil {
					lost = err
					break
				}
				retry = s.newRetry()
				req.After = message.Place
				if !yield(message) {
					return nil
				}
				if ctx.Err() != nil {
					return ended(ctx)
				}
			}
		}
		if ctx.Err() != nil {
			return ended(ctx)
		}
		if !errors.Is(lost, ErrUnavailable) {
			return lost
		}
		s.logger.WarnContext(ctx, "subscription lost its backend; resuming", "after", req.After.Position, "error", lost)
		if !retry.wait(ctx) {
			return retry.giveUp(ctx, lost)
		}
	}
}

// resumable holds a place to resume from against the store as it is now.
func (s *Store) resumable(ctx context.Context, after Place) error {
	if after.IsZero() {
		return nil
	}
	info, err := s.backend.Info(ctx)
	if err != nil {
		return err
	}
	return s.checkPlace(ctx, "", after, info)
}
