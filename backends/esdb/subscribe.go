package esdb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

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
			b: b, filter: req.Filter, size: req.PageSize, after: req.After, from: req.After,
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
	size   eventstore.PageSize
	yield  func(eventstore.Message) bool

	mu    sync.Mutex
	after eventstore.Position // of the last message; written by the caller's goroutine, under mu

	from     eventstore.Position // where the server goes on; it may lie on a hidden event
	caughtUp bool
	head     eventstore.Position // where the caller has caught up, if the server does not say it
	looked   eventstore.Position // the head that a fresh look was last taken for

	waiting atomic.Int64 // counts the receives; odd while one waits
}

var (
	errLookAgain = errors.New("a fresh look is due")
	errStalled   = errors.New("the caller is slow")
	errStopped   = errors.New("the caller stopped")
)

// stallAfter is how long the loop's body may take for a message while the
// server's stream stays open. The client lets the server send up to 16 MiB ahead
// and cannot be told less, so a slower caller is served by pages instead.
const stallAfter = 20 * time.Millisecond

func (s *subscription) run(ctx context.Context) error {
	ctx, cancel := s.b.conn.bound(ctx)
	defer cancel()
	var err error
	if s.head, err = s.b.heads.last(ctx, s.b); err != nil {
		return s.ended(ctx, err)
	}
	if err := s.reached(s.after); err != nil {
		return s.ended(ctx, err)
	}
	for {
		err := s.session(ctx)
		if errors.Is(err, errStalled) {
			err = s.pages(ctx)
		}
		if !errors.Is(err, errLookAgain) {
			return s.ended(ctx, err)
		}
	}
}

// pages serves a slow caller up to the end of the log, with no stream open while
// the caller works.
func (s *subscription) pages(ctx context.Context) error {
	for {
		page, err := s.b.ReadAll(ctx, eventstore.ReadAllRequest{After: s.after, Filter: s.filter, PageSize: s.size})
		if err != nil {
			return err
		}
		for _, event := range page.Events {
			s.advance(event.Position)
			if !s.yield(eventstore.Message{Kind: eventstore.MessageEvent, Event: event, Position: event.Position}) {
				return errStopped
			}
		}
		if s.after.Before(page.Next) {
			s.advance(page.Next)
			if !s.yield(eventstore.Message{Kind: eventstore.MessageProgress, Position: page.Next}) {
				return errStopped
			}
		}
		s.from = s.after
		if page.End {
			if err := s.reached(s.after); err != nil {
				return err
			}
			return errLookAgain
		}
	}
}

// ended maps the reason why the subscription ended.
func (s *subscription) ended(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errStopped):
		return nil
	case s.b.conn.lifetime.Err() != nil:
		return eventstore.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	return mapError(ctx, reading, err)
}

// session is one subscription of the client.
func (s *subscription) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	using, err := s.b.conn.use()
	if err != nil {
		return err
	}
	defer s.b.conn.release(using)
	open := func(context.Context, *client.Client) (*client.Subscription, error) {
		return using.SubscribeToAll(ctx, s.options())
	}
	var stream stream
	if stream.sub, err = do(ctx, s.b.conn, open); err != nil {
		return err
	}
	defer stream.drop()
	stalled := time.AfterFunc(time.Hour, stream.drop)
	defer stalled.Stop()
	if !s.filter.IsZero() {
		var watch sync.WaitGroup
		defer watch.Wait()
		defer cancel(nil)
		watch.Go(func() { s.watch(ctx, cancel) })
	}
	for {
		stalled.Stop()
		s.waiting.Add(1)
		message, open := stream.recv()
		s.waiting.Add(1)
		if !open {
			return errStalled
		}
		stalled.Reset(stallAfter)
		switch {
		case message.EventAppeared != nil:
			err = s.event(message.EventAppeared.OriginalEvent())
		case message.CheckPointReached != nil:
			err = s.checkpoint(ctx, position(*message.CheckPointReached))
		case message.CaughtUp != nil:
			err = s.sayCaughtUp()
		case message.SubscriptionDropped != nil:
			if errors.Is(context.Cause(ctx), errLookAgain) {
				return errLookAgain
			}
			return s.dropped(ctx, message.SubscriptionDropped.Error)
		}
		if err != nil {
			return err
		}
	}
}

// stream is a subscription of the client that can be dropped while the caller
// works: what the server has sent ahead goes with it.
type stream struct {
	mu  sync.Mutex
	sub *client.Subscription
}

// recv returns the next message, and false where the stream was dropped.
func (s *stream) recv() (*client.SubscriptionEvent, bool) {
	s.mu.Lock()
	sub := s.sub
	s.mu.Unlock()
	if sub == nil {
		return nil, false
	}
	message := sub.Recv()
	if message.SubscriptionDropped != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return message, s.sub != nil
	}
	return message, true
}

func (s *stream) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sub != nil {
		_ = s.sub.Close() // it always returns nil
		s.sub = nil
	}
}

// options are what the server is asked for.
func (s *subscription) options() client.SubscribeToAllOptions {
	opts := client.SubscribeToAllOptions{
		From: client.Start{}, Filter: s.b.names.filter(s.filter),
		MaxSearchWindow: searchWindow, CheckpointInterval: 1,
	}
	if !s.from.IsZero() {
		opts.From = serverPosition(s.from)
	}
	return opts
}

// searchWindow is how many events the server looks at between two checkpoints.
const searchWindow = 512

// dropped says why the server ended the subscription. It refuses a position that
// no event has; one beyond the end is fine by the contract, and waits there.
func (s *subscription) dropped(ctx context.Context, err error) error {
	if !isUnreadablePosition(err) || s.from != s.after {
		if mapped := mapError(ctx, reading, err); errors.Is(mapped, context.DeadlineExceeded) {
			return mapped
		}
		if ctx.Err() == nil {
			err = fmt.Errorf("%w: the subscription was dropped: %w", eventstore.ErrUnavailable, err)
		}
		return err
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

func (s *subscription) event(record *client.RecordedEvent) error {
	at := position(record.Position)
	s.from = at
	stream, ok := s.b.event(record)
	if !ok || !s.after.Before(at) {
		return nil
	}
	if s.filter.Match(stream, record.EventType) {
		s.advance(at)
		if !s.yield(eventstore.Message{Kind: eventstore.MessageEvent, Event: decode(record, stream), Position: at}) {
			return errStopped
		}
	}
	return s.reached(at)
}

// checkpoint reports progress. The server's checkpoint may lie on an event that
// the store does not show; the progress is then the last one that it does,
// because a resume point must not lie beyond the store's head.
func (s *subscription) checkpoint(ctx context.Context, at eventstore.Position) error {
	if s.from.Before(at) {
		s.from = at
	}
	if s.filter.IsZero() && s.caughtUp {
		return nil // every event was delivered: there is nothing to report
	}
	head, err := s.b.heads.atOrBefore(ctx, s.b, at)
	if err != nil {
		return err
	}
	if s.after.Before(head) && !s.filter.IsZero() {
		s.advance(head)
		if !s.yield(eventstore.Message{Kind: eventstore.MessageProgress, Position: head}) {
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

// watch ends the session for a fresh look when it has waited for a whole
// interval while the store went on.
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
		head, err := s.b.heads.last(ctx, s.b)
		if err != nil || head == s.looked || !s.progress().Before(head) {
			continue // a lost server ends the session itself
		}
		s.looked = head // once for each head, for the server may have nothing to say
		end(errLookAgain)
		return
	}
}
