package orderlist

import (
	"context"
	"database/sql"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
)

// v1 is the first version of the list: what is due.
func v1() version {
	return version{
		name:   "orderlist-v1",
		create: `CREATE TABLE IF NOT EXISTS orderlist_v1 (stream TEXT PRIMARY KEY, customer TEXT NOT NULL, due BIGINT NOT NULL)`,
		due:    `SELECT stream, due FROM orderlist_v1 WHERE customer = $1 AND due > 0`,
		apply:  applyV1,
	}
}

func applyV1(ctx context.Context, tx *sql.Tx, e order.Event, at eventstore.RecordedEvent) (err error) {
	switch e := e.(type) {
	case order.Placed:
		_, err = tx.ExecContext(ctx, `INSERT INTO orderlist_v1 VALUES ($1, $2, $3)`, at.Stream, e.Customer, e.Cents)
	case order.Paid:
		_, err = tx.ExecContext(ctx, `UPDATE orderlist_v1 SET due = due - $1 WHERE stream = $2`, e.Cents, at.Stream)
	case order.Cancelled:
		_, err = tx.ExecContext(ctx, `DELETE FROM orderlist_v1 WHERE stream = $1`, at.Stream)
	}
	return err
}
