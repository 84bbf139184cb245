package orderlist

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
)

// v2 knows too since when an order waits for its payment, in milliseconds since
// 1970, and by which event.
func v2() version {
	return version{
		name: "orderlist-v2",
		create: `CREATE TABLE IF NOT EXISTS orderlist_v2 (stream TEXT PRIMARY KEY, customer TEXT NOT NULL, due BIGINT NOT NULL,
			placed_at BIGINT NOT NULL, placed_by TEXT NOT NULL)`,
		due:   `SELECT stream, due FROM orderlist_v2 WHERE customer = $1 AND due > 0`,
		apply: applyV2,
	}
}

func applyV2(ctx context.Context, tx *sql.Tx, e order.Event, at eventstore.RecordedEvent) (err error) {
	switch e := e.(type) {
	case order.Placed:
		_, err = tx.ExecContext(ctx, `INSERT INTO orderlist_v2 VALUES ($1, $2, $3, $4, $5)`,
			at.Stream, e.Customer, e.Cents, at.RecordedAt.UnixMilli(), at.ID.String())
	case order.Paid:
		_, err = tx.ExecContext(ctx, `UPDATE orderlist_v2 SET due = due - $1 WHERE stream = $2`, e.Cents, at.Stream)
	case order.Cancelled:
		_, err = tx.ExecContext(ctx, `DELETE FROM orderlist_v2 WHERE stream = $1`, at.Stream)
	}
	return err
}

// Overdue returns the streams of orders that have waited for their payment since
// before a time, each with the ID of the event that placed it: the oldest 256.
func (l *List) Overdue(ctx context.Context, before time.Time) (map[string]uuid.UUID, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT stream, placed_by FROM orderlist_v2
		WHERE due > 0 AND placed_at < $1 ORDER BY placed_at LIMIT 256`, before.UnixMilli())
	return collect[uuid.UUID](rows, err)
}
