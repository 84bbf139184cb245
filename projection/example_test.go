package projection_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

// Paid is the event of this example.
type Paid struct {
	Cents int64 `json:"cents"`
}

// A read model in SQLite: what each customer has paid.
func ExampleNew() {
	ctx := context.Background()
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	db, err := sql.Open("sqlite", "file:paid?mode=memory&cache=shared")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	target, err := sqldb.Open(ctx, db, sqldb.SQLite)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE paid_v1 (customer TEXT PRIMARY KEY, cents INTEGER NOT NULL)`); err != nil {
		fmt.Println(err)
		return
	}

	events := codec.Must(codec.New[Paid](nil, codec.Of[Paid]("Paid")))
	sub := projection.New(target, "paid-v1", events, func(ctx context.Context, tx *sql.Tx, e Paid, at eventstore.RecordedEvent) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO paid_v1 VALUES (?, ?) ON CONFLICT DO UPDATE SET cents = cents + excluded.cents`, at.Stream, e.Cents)
		return err
	})
	sub.UntilCaughtUp = true // a service leaves this out, and Run goes on
	for _, cents := range []int{500, 250} {
		_, err := store.Append(ctx, "customer-ann", eventstore.Any(), eventstore.Event{Type: "Paid", Data: fmt.Appendf(nil, `{"cents":%d}`, cents)})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	for range 2 { // the second time there is nothing to do
		if err := store.Run(ctx, sub); err != nil {
			fmt.Println(err)
			return
		}
	}

	var cents int
	err = db.QueryRowContext(ctx, `SELECT cents FROM paid_v1 WHERE customer = 'customer-ann'`).Scan(&cents)
	fmt.Println(cents, err)
	// Output: 750 <nil>
}

// What each customer has paid, added up and written with one statement for a batch.
func ExampleNewBatched() {
	ctx := context.Background()
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	db, err := sql.Open("sqlite", "file:batched?mode=memory&cache=shared")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	target, err := sqldb.Open(ctx, db, sqldb.SQLite)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE paid_v1 (customer TEXT PRIMARY KEY, cents INTEGER NOT NULL)`); err != nil {
		fmt.Println(err)
		return
	}

	events := codec.Must(codec.New[Paid](nil, codec.Of[Paid]("Paid")))
	sub := projection.NewBatched(target, "paid-v1", events, func(ctx context.Context, tx *sql.Tx, events []codec.Decoded[Paid]) error {
		sums := make(map[string]int64) // PostgreSQL does not update a row twice in one statement
		for _, e := range events {
			sums[e.Recorded.Stream] += e.Value.Cents
		}
		var rows []string
		var args []any
		for customer, cents := range sums {
			rows, args = append(rows, "(?, ?)"), append(args, customer, cents)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO paid_v1 VALUES `+strings.Join(rows, ", ")+` ON CONFLICT DO UPDATE SET cents = cents + excluded.cents`, args...)
		return err
	})
	sub.UntilCaughtUp = true
	for i, customer := range []string{"customer-ann", "customer-bob", "customer-ann"} {
		_, err := store.Append(ctx, customer, eventstore.Any(), eventstore.Event{Type: "Paid", Data: fmt.Appendf(nil, `{"cents":%d}`, 100+i)})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := store.Run(ctx, sub); err != nil {
		fmt.Println(err)
		return
	}

	var ann, bob int
	err = db.QueryRowContext(ctx, `SELECT a.cents, b.cents FROM paid_v1 a, paid_v1 b WHERE a.customer = 'customer-ann' AND b.customer = 'customer-bob'`).Scan(&ann, &bob)
	fmt.Println(ann, bob, err)
	// Output: 202 101 <nil>
}

// Whoever wrote waits for the position that the append returned, and reads the own write.
func ExampleWaitFor() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	db, err := sql.Open("sqlite", "file:waited?mode=memory&cache=shared")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // of a shared memory database
	target, err := sqldb.Open(ctx, db, sqldb.SQLite)
	if err != nil {
		fmt.Println(err)
		return
	}
	events := codec.Must(codec.New[Paid](nil, codec.Of[Paid]("Paid")))
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		done <- store.Run(running, projection.New(target, "paid-v1", events, func(context.Context, *sql.Tx, Paid, eventstore.RecordedEvent) error {
			fmt.Println("applied")
			return nil
		}))
	}()

	result, err := store.Append(ctx, "customer-ann", eventstore.Any(), eventstore.Event{Type: "Paid", Data: []byte(`{"cents":500}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(projection.WaitFor(ctx, target, "paid-v1", result.Position))
	stop()
	fmt.Println(<-done)
	// Output:
	// applied
	// <nil>
	// <nil>
}
