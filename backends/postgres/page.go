package postgres

import (
	"context"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// leftFor is how long a page may still take whose caller does not want it any more.
const leftFor = 100 * time.Millisecond

// readPage reads a page through a connection of the pool. A caller that leaves waits for
// the page to end, for leftFor at most: to cut a query off is to lose its connection, and
// to make a new one costs the server more than a page, which is bounded and takes
// milliseconds. A goroutine of its own would let the caller go at once, and cost every
// read that is not left half as much as the read.
func (b *Backend) readPage(ctx context.Context, read func(ctx context.Context, db reader) (eventstore.Page, error)) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	within, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(b.lifetime, cancel)()
	left := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(leftFor, cancel)
		context.AfterFunc(within, func() { timer.Stop() })
	})
	defer left()
	conn, err := b.acquire(ctx)
	if err != nil {
		return eventstore.Page{}, b.readFailure(ctx, err)
	}
	page, err := read(within, conn)
	conn.Release()
	if err == nil && ctx.Err() == nil {
		return page, nil
	}
	if err == nil {
		return eventstore.Page{}, ctx.Err()
	}
	return eventstore.Page{}, b.readFailure(ctx, err)
}
