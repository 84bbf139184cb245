// Package orderlist is a read model in SQLite or PostgreSQL: what each customer
// has to pay, by order.
package orderlist

import (
	"context"
	"database/sql"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

// version is one form of the list: a table, and what keeps it in step with the
// events. What is written to the table never changes under its name: another form
// is another version.
type version struct {
	name        string
	create, due string // statements
	apply       func(ctx context.Context, tx *sql.Tx, e order.Event, at eventstore.RecordedEvent) error
}

// List is the list in its database.
type List struct {
	db     *sql.DB
	target *sqldb.Target
	waited eventstore.Checkpoints // the target, as readers wait for it
}

// Open makes the list's tables where there are none. A new list has the second
// version; one that has the first goes over when it is run.
func Open(ctx context.Context, db *sql.DB, dialect sqldb.Dialect) (*List, error) {
	target, err := sqldb.Open(ctx, db, dialect)
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		v1().create,
		v2().create,
		`CREATE TABLE IF NOT EXISTS orderlist_current (only_row INTEGER PRIMARY KEY, name TEXT NOT NULL)`,
		`INSERT INTO orderlist_current VALUES (1, 'orderlist-v2') ON CONFLICT DO NOTHING`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("make the order list's tables: %w", err)
		}
	}
	return &List{db: db, target: target, waited: target}, nil
}

// model is the read model of a version.
func (l *List) model(v version) eventstore.Subscription {
	sub := projection.New(l.target, v.name, order.Events(nil), v.apply)
	sub.Filter.Categories = []string{order.Category}
	return sub
}

// Run keeps the list in step until ctx is done. Where readers see the first version
// it lets them go over to the second, and keeps the first one for those who wait for
// it; the next start has the second alone.
func (l *List) Run(ctx context.Context, store *eventstore.Store) error {
	current, err := l.current(ctx)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return store.Run(ctx, l.model(v2())) })
	if current.name == v1().name {
		g.Go(func() error { return store.Run(ctx, l.model(v1())) })
		g.Go(func() error { return l.swap(ctx) })
	}
	return g.Wait()
}

// swap lets readers go over to the second version once it is as far as the first.
// The release after this one drops the first one's table, and its code.
func (l *List) swap(ctx context.Context) error {
	err := l.target.Swap(ctx, v1().name, v2().name, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE orderlist_current SET name = 'orderlist-v2'`)
		return err
	})
	return unlessEnded(ctx, err) // the next start tries again
}

// unlessEnded is nil where what failed was told to end.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// current returns the version that readers see.
func (l *List) current(ctx context.Context) (version, error) {
	var name string
	if err := l.db.QueryRowContext(ctx, `SELECT name FROM orderlist_current`).Scan(&name); err != nil {
		return version{}, fmt.Errorf("read the order list's version: %w", err)
	}
	for _, v := range []version{v1(), v2()} {
		if v.name == name {
			return v, nil
		}
	}
	return version{}, fmt.Errorf("the order list's version is %q; deploy the code that knows it", name)
}

// Due returns what a customer has to pay, by the order's stream, as it was at a
// position or later. It waits for that, and fails with [projection.ErrBehind] when
// ctx ends first.
func (l *List) Due(ctx context.Context, customer string, at eventstore.Position) (map[string]int64, error) {
	v, err := l.current(ctx)
	for err == nil {
		if err := projection.WaitFor(ctx, l.waited, v.name, at); err != nil {
			return nil, err
		}
		due, err := collect[int64](l.db.QueryContext(ctx, v.due, customer))
		if err != nil {
			return nil, err
		}
		now, err := l.current(ctx)
		if err != nil || now.name == v.name {
			return due, err
		}
		v = now // readers went over: what was read may be older than what another has seen
	}
	return nil, err
}

// collect reads rows of a stream and something of it.
func collect[V any](rows *sql.Rows, err error) (map[string]V, error) {
	if err != nil {
		return nil, fmt.Errorf("read the order list: %w", err)
	}
	defer rows.Close()
	all := make(map[string]V)
	for rows.Next() {
		var stream string
		var value V
		if err := rows.Scan(&stream, &value); err != nil {
			return nil, fmt.Errorf("read the order list: %w", err)
		}
		all[stream] = value
	}
	return all, rows.Err()
}
