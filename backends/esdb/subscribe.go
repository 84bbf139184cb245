package esdb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Subscribe implements [eventstore.Backend]: the server's subscription to $all
// with the narrowest filter that the protocol has for the caller's.
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	if b.options.NoPush {
		return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: b.ReadAll, Poll: b.options.Poll})
	}
	return func(yield func(eventstore.Message, error) bool) {
		if err := b.ready(ctx); err != nil {
			yield(eventstore.Message{}, err)
			return
		}
		s := &subscription{
			b: b, filter: req.Filter, after: req.After, from: req.After,
			yield: func(m eventstore.Message) bool { return yield(m, nil) },
		}
		if err := s.run(ctx); err != nil {
			yield(eventstore.Message{}, err)
		}
	}
}

// subscription is one call of Subscribe. Its filter may need to look again:
// between the server's checkpoints, which come every so many events, it cannot
// tell that nothing matched, but a new subscription begins with one.
type subscription struct {
	b      *Backend
	filter eventstore.Filter
	yield  func(eventstore.Message) bool

	mu    sync.Mutex
	after eventstore.Position // of the last message; written by the caller's goroutine, under mu

	from     eventstore.Position // where the server goes on; it may lie on a hidden event
	caughtUp bool
	head     eventstore.Position // the store's last event as it was last read
	looked   eventstore.Position // the head that a fresh look was last taken for

	waiting atomic.Int64 // counts the receives; odd while one waits
}

var (
	errLookAgain = errors.New("a fresh look is due")
	errStopped   = errors.New("the caller stopped")
)

func (s *subscription) run(ctx context.Context) error {
	var err error
	if s.head, err = s.b.head(ctx); err != nil {
		return s.ended(ctx, err)
	}
	err = s.reached(s.after)
	for err == nil || errors.Is(err, errLookAgain) {
		err = s.session(ctx)
	}
	return s.ended(ctx, err)
}

// ended maps the reason why the subscription ended.
func (s *subscription) ended(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errStopped):
		return nil
	case s.b.conn.isClosed():
		return eventstore.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	return mapError(ctx, err)
}

// session is one subscription of the server's. What the server may send ahead of
// a slow caller is bounded by the transport.
func (s *subscription) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	feed, err := s.b.conn.follow(ctx, s.from, s.b.names.filter(s.filter))
	if err != nil {
		return err
	}
	defer feed.close()
	if !s.filter.IsZero() {
		var watch sync.WaitGroup
		defer watch.Wait()
		defer cancel(nil)
		watch.Go(func() { s.watch(ctx, cancel) })
	}
	for {
		s.waiting.Add(1)
		message, err := feed.next()
		s.waiting.Add(1)
		switch {
		case err != nil && errors.Is(context.Cause(ctx), errLookAgain):
			return errLookAgain
		case err != nil:
			return s.dropped(ctx, err)
		case message.event != nil:
			err = s.event(message.event)
		case message.caughtUp:
			err = s.sayCaughtUp()
		default:
			err = s.checkpoint(ctx, message.checkpoint)
		}
		if err != nil {
			return err
		}
	}
}

// dropped says why the server ended the subscription. It refuses a position that
// no event has; one beyond the end is fine by the contract, and waits there.
func (s *subscription) dropped(ctx context.Context, err error) error {
	if !isUnreadablePosition(err) || s.from != s.after {
		if mapped := mapError(ctx, err); isMapped(mapped) || errors.Is(mapped, context.DeadlineExceeded) || isRefusal(err) {
			return mapped
		}
		return fmt.Errorf("%w: the subscription was dropped: %w", eventstore.ErrUnavailable, err)
	}
	last, lastErr := s.b.lastRecord(ctx)
	switch {
	case lastErr != nil:
		return lastErr
	case s.after.Before(last):
		return foreignPosition(s.after, err)
	}
	s.from = last
	return errLookAgain
}

func (s *subscription) advance(to eventstore.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = to
}

func (s *subscription) progress() eventstore.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.after
}

func (s *subscription) event(read *recorded) error {
	at := read.position
	s.from = at
	stream, ok := s.b.event(read)
	if !ok || !s.after.Before(at) {
		return nil
	}
	if s.filter.Match(stream, read.eventType) {
		s.advance(at)
		if !s.yield(eventstore.Message{Kind: eventstore.MessageEvent, Event: decode(read, stream), Position: at}) {
			return errStopped
		}
	}
	return s.reached(at)
}

// checkpoint reports progress. The server's checkpoint may lie beyond the last
// event that the store shows; the progress is then that event, because a resume
// point must not lie beyond the store's head.
func (s *subscription) checkpoint(ctx context.Context, at eventstore.Position) error {
	if s.from.Before(at) {
		s.from = at
	}
	if s.filter.IsZero() {
		return s.reached(at) // every event was delivered: there is nothing else to report
	}
	reached := at
	if s.head.Before(at) {
		head, err := s.b.head(ctx)
		if err != nil {
			return err
		}
		s.head = head
		if head.Before(at) {
			reached = head
		}
	}
	if s.after.Before(reached) {
		s.advance(reached)
		if !s.yield(eventstore.Message{Kind: eventstore.MessageProgress, Position: reached}) {
			return errStopped
		}
	}
	return s.reached(at)
}

// reached says CaughtUp when everything up to the head that was found at the
// beginning was delivered. Servers before 23.10 do not say it themselves.
func (s *subscription) reached(at eventstore.Position) error {
	if s.caughtUp || at.Before(s.head) {
		return nil
	}
	return s.sayCaughtUp()
}

func (s *subscription) sayCaughtUp() error {
	if s.caughtUp {
		return nil
	}
	s.caughtUp = true
	if !s.yield(eventstore.Message{Kind: eventstore.MessageCaughtUp, Position: s.after}) {
		return errStopped
	}
	return nil
}

// watch ends the session for a fresh look when it has waited for a whole interval
// while the store went on.
func (s *subscription) watch(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(s.b.options.Poll)
	defer tick.Stop()
	for before := int64(-1); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.waiting.Load()
		idle := now == before && now%2 == 1
		before = now
		if !idle {
			continue
		}
		head, err := s.b.head(ctx)
		if err != nil || head == s.looked || !s.progress().Before(head) {
			continue // a lost server ends the session itself
		}
		s.looked = head // once for each head, for the server may have nothing to say
		end(errLookAgain)
		return
	}
}
