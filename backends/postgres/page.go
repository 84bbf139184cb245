package postgres

import (
	"context"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// readPage reads a page through a connection of the pool. A caller that leaves waits a
// little for the page to end; see [pgdriver.Lingering].
func (b *Backend) readPage(ctx context.Context, read func(ctx context.Context, db reader) (eventstore.Page, error)) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	within, cancel := pgdriver.Lingering(ctx, b.lifetime)
	defer cancel()
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
