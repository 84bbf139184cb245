package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// viewPatience is how long a view waits for brokers, and how long it waits for
// records that do not come.
const viewPatience = 5 * time.Second

// view waits until everything is folded that was acknowledged, by any broker to
// anybody, before the call.
func (b *Backend) view(ctx context.Context) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	within, cancel := b.within(ctx)
	defer cancel()
	err := b.viewWithin(within)
	if err != nil {
		return b.readError(ctx, err)
	}
	return nil
}

func (b *Backend) viewWithin(ctx context.Context) error {
	if err := b.log.haltedBy(); err != nil {
		return err
	}
	end, err := b.acknowledged(ctx)
	if err != nil {
		return err
	}
	return b.reach(ctx, end)
}

// acknowledged returns the offset below which everything is that was acknowledged
// before the call.
func (b *Backend) acknowledged(ctx context.Context) (int64, error) {
	before := b.log.next()
	end, err := b.views.end(ctx, b.lifetime, &b.background)
	if err == nil && end < before {
		// What was acknowledged is gone, or another log is there: the tail finds out.
		b.log.doubt()
		err = fmt.Errorf("the log ends at offset %d, and was read up to %d", end, before)
	}
	return end, err
}

// reach waits until the log is folded up to an offset. A handle that is not told of
// records goes and gets them.
func (b *Backend) reach(ctx context.Context, end int64) error {
	if !b.opts.NoPush {
		return b.log.waitFor(ctx, end, viewPatience)
	}
	if _, doubted := b.log.doubted(); doubted {
		if err := b.recheck(ctx); err != nil {
			return err
		}
	}
	if b.log.next() >= end {
		return b.log.haltedBy()
	}
	return b.foldTo(ctx, end)
}

// views share what they ask of the brokers: one is under way, and all that come
// meanwhile share the next one. Whoever joins one that is under way already could
// miss what was acknowledged since it began.
type views struct {
	read func(ctx context.Context) (int64, error)

	mu      sync.Mutex
	running bool
	next    *viewed
}

type viewed struct {
	done chan struct{}
	end  int64
	err  error
}

// end returns the log's acknowledged end, as it was after the call began.
func (v *views) end(ctx, lifetime context.Context, background *sync.WaitGroup) (int64, error) {
	v.mu.Lock()
	one := v.next
	if one == nil {
		one = &viewed{done: make(chan struct{})}
		v.next = one
	}
	if !v.running {
		v.running = true
		background.Go(func() { v.run(lifetime) })
	}
	v.mu.Unlock()
	select {
	case <-one.done:
		return one.end, one.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (v *views) run(lifetime context.Context) {
	for {
		v.mu.Lock()
		one := v.next
		v.next, v.running = nil, one != nil
		v.mu.Unlock()
		if one == nil {
			return
		}
		ctx, cancel := context.WithTimeout(lifetime, viewPatience)
		one.end, one.err = v.read(ctx)
		cancel()
		close(one.done)
	}
}

// lost says why a subscription cannot go on: it reads what is folded, and must not
// stay silent while nothing can be.
func (b *Backend) lost() error {
	if err := b.log.lostFor(viewPatience); err != nil {
		return fmt.Errorf("%w: kafka: the log cannot be read: %w", eventstore.ErrUnavailable, notContext(err))
	}
	return nil
}

// notContext hides that an error comes from a context of this package's own: its
// caller's may go on.
func notContext(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &opaqueError{err}
	}
	return err
}
