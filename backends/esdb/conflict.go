package esdb

import (
	"context"
	"errors"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// errStale is the flush's answer to an append whose expected version is stale, on a
// stream that this handle is about to write again: see settleStale.
var errStale = errors.New("the stream is past the expected version")

// isStale tells whether an append can only be a conflict, or a repetition, and another
// append of this handle is likely to come, whose answer will tell which.
func (t *cachedStream) isStale(part eventstore.StreamAppend) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	exact, isExact := part.Expected.Exact()
	return t.known && isExact && exact < t.version && !t.holds(part.Events) && t.readers.mayAppend()
}

// settleStale answers an append that lost the race for its version. A conflict must be with
// the stream as it is while the caller waits. To read that in the stream's turn would
// hold up the append of who knows the version; the server's answer to that one tells
// as much. Where none comes the stream is read after all. since is the number of the
// last read or write of the stream's end that had begun when the caller came.
func (b *Backend) settleStale(ctx context.Context, t *cachedStream, part eventstore.StreamAppend, since uint64) ([]eventstore.PartResult, error) {
	if err := t.awaitWrite(ctx, since); err != nil {
		return nil, err
	}
	if err := t.conflicts(since, part); err != nil {
		return nil, err
	}
	if err := t.lock(ctx); err != nil {
		return nil, err
	}
	defer t.unlock()
	return b.settle(ctx, t, part, since)
}

// awaitWrite waits until the stream's end was seen by a read or write that began after
// a number, or none of these is likely to come.
func (t *cachedStream) awaitWrite(ctx context.Context, since uint64) error {
	for {
		told, wait := t.awaited(since)
		if told == nil {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-told:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// awaited returns what to wait for, and how long at most until another look; nil where
// there is nothing to wait for.
func (t *cachedStream) awaited(since uint64) (told <-chan struct{}, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait = time.Until(t.readers.awaited)
	if t.readers.writing {
		wait = maxWait // its end is told
	}
	if t.seen > since || wait <= 0 {
		return nil, 0
	}
	if t.told == nil {
		t.told = make(chan struct{})
	}
	return t.told, wait
}
