package adapter

import (
	"context"
	"time"
)

// groupQueue is the appends that wait, the one that came first in front. It is a
// linked list: under overload many wait, and most of them leave from its middle.
type groupQueue struct {
	first, last   *GroupedAppend
	count, weight int
}

func (q *groupQueue) push(call *GroupedAppend) {
	call.queued, call.previous = true, q.last
	if q.last == nil {
		q.first = call
	} else {
		q.last.next = call
	}
	q.last = call
	q.count++
	q.weight += call.weight
}

// remove tells whether the call was in the queue, and takes it out.
func (q *groupQueue) remove(call *GroupedAppend) bool {
	if !call.queued {
		return false
	}
	if call.previous == nil {
		q.first = call.next
	} else {
		call.previous.next = call.next
	}
	if call.next == nil {
		q.last = call.previous
	} else {
		call.next.previous = call.previous
	}
	call.queued, call.previous, call.next = false, nil, nil
	q.count--
	q.weight -= call.weight
	return true
}

// take removes the group that leaves at now: those in front, up to the most that
// it may weigh. Whoever's time is over is answered and not taken.
//
// If not all fit, those who have less than patience left are passed over: their
// callers would be gone before the answer. Where that leaves room, those of them
// who came last travel after all: they have most time left, and patience is a
// guess that only further flushes can correct.
func (q *groupQueue) take(most int, now time.Time, patience time.Duration) (group []*GroupedAppend) {
	crowded := q.weight > most
	weight := 0
	fits := func(call *GroupedAppend) bool {
		if len(group) > 0 && weight+call.weight > most {
			return false
		}
		weight += call.weight
		q.remove(call)
		group = append(group, call)
		return true
	}
	var next *GroupedAppend
	for call := q.first; call != nil; call = next {
		next = call.next
		switch err := call.expired(now); {
		case err != nil:
			q.remove(call)
			call.Err = err
			close(call.done)
		case crowded && call.hurries(now, patience):
		case !fits(call):
			return group
		}
	}
	for call := q.last; call != nil; call = next {
		next = call.previous
		if !fits(call) {
			break
		}
	}
	return group
}

// Left returns the error of the caller's context where that is done, and nil while the
// caller waits. Who has left hears of no verdict, and may have appended the same events
// again since: a flush that begins anew, with what it has learnt meanwhile, leaves such
// an append out and gives it this error.
func (call *GroupedAppend) Left() error { return call.ctx.Err() }

// expired returns the error of the caller's context where that is done. A deadline
// counts when it has come, whether or not the context's timer has run.
func (call *GroupedAppend) expired(now time.Time) error {
	if err := call.ctx.Err(); err != nil {
		return err
	}
	if !call.deadline.IsZero() && !now.Before(call.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// hurries tells whether less than so much is left before the caller's deadline.
func (call *GroupedAppend) hurries(now time.Time, patience time.Duration) bool {
	return !call.deadline.IsZero() && call.deadline.Sub(now) < patience
}
