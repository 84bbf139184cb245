package eventstore

import (
	"context"
	"iter"
	"sync"
	"time"
)

// Hint wakes subscriptions when there may be something new. It is only a hint:
// a lost one costs at most a poll interval. The zero Hint is ready for use.
type Hint struct {
	mu   sync.Mutex
	wake chan struct{}
}

// Notify wakes everyone who waits.
func (h *Hint) Notify() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// C returns a channel that the next Notify closes. Take it before looking for
// events, so that none is missed in between.
func (h *Hint) C() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wake == nil {
		h.wake = make(chan struct{})
	}
	return h.wake
}

// FollowSource is where [Follow] finds events.
type FollowSource struct {
	// Page reads the global order; a Backend's ReadAll.
	Page func(ctx context.Context, req ReadAllRequest) (Page, error)
	// Hint, where not nil, wakes the loop early.
	Hint *Hint
	// Poll is the longest wait before the loop looks again; it must be positive.
	Poll time.Duration
}

// Follow implements a Backend's Subscribe over its ReadAll: it catches up page
// by page, says CaughtUp once, and then waits for a hint or the poll interval.
// It holds one page in memory and nothing else.
func Follow(ctx context.Context, req SubscribeRequest, source FollowSource) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		after, caughtUp := req.After, false
		poll := time.NewTimer(source.Poll)
		defer poll.Stop()
		for {
			var hint <-chan struct{}
			if source.Hint != nil {
				hint = source.Hint.C()
			}
			page, err := source.Page(ctx, ReadAllRequest{After: after, Filter: req.Filter, PageSize: req.PageSize})
			if err != nil {
				yield(Message{}, err)
				return
			}
			for _, event := range page.Events {
				after = event.Position
				if !yield(Message{Kind: MessageEvent, Event: event, Position: after}, nil) {
					return
				}
			}
			if after.Before(page.Next) {
				after = page.Next
				if !yield(Message{Kind: MessageProgress, Position: after}, nil) {
					return
				}
			}
			if !page.End {
				continue
			}
			if !caughtUp {
				caughtUp = true
				if !yield(Message{Kind: MessageCaughtUp, Position: after}, nil) {
					return
				}
			}
			poll.Reset(source.Poll)
			select {
			case <-ctx.Done():
				yield(Message{}, ctx.Err())
				return
			case <-hint:
			case <-poll.C:
			}
		}
	}
}
