// The orders example is an application that never names its database: the store
// is the one that its config file names, and editing one line of that file moves
// the application to another backend.
//
//	go run ./examples/orders -config examples/orders/sqlite.yaml
//	go run ./examples/orders -config examples/orders/memory.yaml
//	go run ./examples/orders -config examples/orders/postgres.yaml
//
// sqlite.yaml takes the file's name from ORDERS_DB, postgres.yaml the URL from
// ORDERS_URL, and marten.yaml from ORDERS_MARTEN_URL.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func main() {
	config := flag.String("config", "switchyard.yaml", "the file that names the store \"orders\"")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *config)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

// run places and changes an order, reads it back, and bills what was placed.
func run(ctx context.Context, out io.Writer, config string) error {
	store, err := all.OpenConfig(ctx, config, "orders", nil)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()

	id := uuid.NewString()
	stream := "order-" + id
	if err := decide(ctx, store, stream, place(3)); err != nil {
		return err
	}
	if err := decide(ctx, store, stream, addItems(2)); err != nil {
		return err
	}
	state, version, err := load(ctx, store, stream)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the order has %d items after %d events\n", state.Items, version)

	// Somebody who decides on what they read a while ago is told so.
	added, err := eventstore.JSONEvent("ItemsAdded", items{Items: 1})
	if err != nil {
		return err
	}
	_, err = store.Append(ctx, stream, eventstore.Exactly(version-1), added)
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) {
		return fmt.Errorf("a stale decision was accepted: %w", err)
	}
	fmt.Fprintf(out, "a decision on version %s is refused: the order is at version %d\n", conflict.Expected, conflict.Actual)
	return bill(ctx, out, store, stream)
}

// order is what an order's events add up to.
type order struct{ Items int }

// items is the data of all events of an order.
type items struct {
	Items int `json:"items"`
}

// load folds a stream.
func load(ctx context.Context, store *eventstore.Store, stream string) (state order, version uint64, err error) {
	for event, err := range store.ReadStream(ctx, stream, eventstore.ReadOptions{}) {
		if err != nil {
			return state, 0, err
		}
		var data items
		if err := json.Unmarshal(event.Data, &data); err != nil {
			return state, 0, fmt.Errorf("event %s: %w", event.ID, err)
		}
		state.Items += data.Items
		version = event.Version
	}
	return state, version, nil
}

// decide loads an order, asks what is to happen, and appends that if nobody was
// faster; otherwise it decides again on what the other left.
func decide(ctx context.Context, store *eventstore.Store, stream string, decision func(order) (eventstore.Event, error)) error {
	for {
		state, version, err := load(ctx, store, stream)
		if err != nil {
			return err
		}
		event, err := decision(state)
		if err != nil {
			return err
		}
		_, err = store.Append(ctx, stream, eventstore.Exactly(version), event)
		if !errors.Is(err, eventstore.ErrConflict) {
			return err
		}
	}
}

func place(n int) func(order) (eventstore.Event, error) {
	return func(order) (eventstore.Event, error) { return eventstore.JSONEvent("OrderPlaced", items{Items: n}) }
}

func addItems(n int) func(order) (eventstore.Event, error) {
	return func(state order) (eventstore.Event, error) {
		if state.Items == 0 {
			return eventstore.Event{}, errors.New("the order was not placed")
		}
		return eventstore.JSONEvent("ItemsAdded", items{Items: n})
	}
}

// bill runs a durable subscription until it has handled everything that is there.
// Run again, it goes on after the last order that it billed.
func bill(ctx context.Context, out io.Writer, store *eventstore.Store, stream string) error {
	return store.Run(ctx, eventstore.Subscription{
		Name:          "billing",
		Filter:        eventstore.Filter{Categories: []string{"order"}, Types: []string{"OrderPlaced"}},
		UntilCaughtUp: true,
		Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
			if event.Stream == stream {
				fmt.Fprintln(out, "billed the order")
			}
			return nil
		},
	})
}
