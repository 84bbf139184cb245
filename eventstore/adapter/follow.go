package adapter

import (
	"context"
	"iter"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// FollowSource is where [Follow] finds events.
type FollowSource struct {
	// Page reads the global order; a Backend's ReadAll.
	Page func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error)
	// Info reads the head; a Backend's Info.
	Info func(ctx context.Context) (eventstore.Info, error)
	// Hint, where not nil, wakes the loop early.
	Hint *Hint
	// Poll is the longest wait before the loop looks again; 0 means 1 s.
	Poll time.Duration
}

const defaultPoll = time.Second

// Follow implements a Backend's Subscribe over its ReadAll: it catches up page
// by page, says CaughtUp once, and then waits for a hint or the poll interval. It
// says once for each seal that a sealed store's last event was delivered. It holds
// one page in memory and nothing else.
//
// Caught up is what has delivered everything that was stored when it began, so
// writers that outrun it do not keep it from saying so.
//
// Where the last page's Next names no event, because it lies beyond the last one, it is
// not gone to: a checkpoint there would be ahead of the store at the next start. Between
// pages such a place moves the reading on, and is no progress to tell.
func Follow(ctx context.Context, req eventstore.SubscribeRequest, source FollowSource) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		f := &follower{req: req, source: source, after: req.After, next: req.After}
		if err := f.run(ctx, func(m eventstore.Message) bool { return yield(m, nil) }); err != nil {
			yield(eventstore.Message{}, err)
		}
	}
}

type follower struct {
	req      eventstore.SubscribeRequest
	source   FollowSource
	after    eventstore.Place    // what a message says: an event, or where the subscription began
	next     eventstore.Place    // where the next page begins: after, or a later place without an event
	head     eventstore.Position // when the subscription began
	caughtUp bool
	sealed   bool // it was said
}

// run returns nil where yield returned false.
func (f *follower) run(ctx context.Context, yield func(eventstore.Message) bool) error {
	if f.source.Poll <= 0 {
		f.source.Poll = defaultPoll
	}
	info, err := f.source.Info(ctx)
	if err != nil {
		return err
	}
	f.head = info.Head.Position
	if !f.after.Named() && f.after.Position == f.head {
		// Nothing may follow that names an event, and another log is told by the event alone.
		f.after, f.next = info.Head, info.Head
	}
	poll := time.NewTimer(f.source.Poll)
	defer poll.Stop()
	for {
		var hint <-chan struct{}
		if f.source.Hint != nil {
			hint = f.source.Hint.C() // before looking, so that none is missed in between
		}
		page, err := f.source.Page(ctx, eventstore.ReadAllRequest{After: f.next, Filter: f.req.Filter, PageSize: f.req.PageSize})
		if err != nil {
			return err
		}
		if !f.deliver(page, yield) {
			return nil
		}
		if !page.End {
			continue
		}
		poll.Reset(f.source.Poll)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hint:
		case <-poll.C:
		}
	}
}

// deliver yields a page and the signals that follow from it.
func (f *follower) deliver(page eventstore.Page, yield func(eventstore.Message) bool) bool {
	for _, event := range page.Events {
		f.after, f.next = event.Place(), event.Place()
		if !yield(eventstore.Message{Kind: eventstore.MessageEvent, Event: event, Place: f.after}) || !f.catchUp(false, yield) {
			return false
		}
	}
	if f.next.Position.Before(page.Next.Position) && (page.Next.Named() || !page.End) {
		f.next = page.Next
	}
	if f.next.Named() && f.after.Position.Before(f.next.Position) {
		f.after = f.next
		if !yield(eventstore.Message{Kind: eventstore.MessageProgress, Place: f.after}) {
			return false
		}
	}
	if !f.catchUp(page.End, yield) {
		return false
	}
	said := f.sealed
	f.sealed = page.Sealed && page.End
	if f.sealed && !said {
		return yield(eventstore.Message{Kind: eventstore.MessageSealed, Place: f.after})
	}
	return true
}

// catchUp says once that everything up to the head at the beginning was delivered.
func (f *follower) catchUp(end bool, yield func(eventstore.Message) bool) bool {
	if f.caughtUp || (!end && f.next.Position.Before(f.head)) {
		return true
	}
	f.caughtUp = true
	return yield(eventstore.Message{Kind: eventstore.MessageCaughtUp, Place: f.after})
}
