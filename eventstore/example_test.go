package eventstore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// openExample opens a store for the examples. An application opens one by URL
// with backends.Open, or from a backend's own constructor.
func openExample() *eventstore.Store {
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		panic(err)
	}
	return store
}

func Example() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()

	placed, _ := eventstore.JSONEvent("OrderPlaced", map[string]int{"amount": 1299})
	paid, _ := eventstore.JSONEvent("OrderPaid", map[string]int{"amount": 1299})
	result, err := store.Append(ctx, "order-42", eventstore.NoStream(), placed, paid)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("at version", result.Version)

	for event, err := range store.ReadStream(ctx, "order-42", eventstore.ReadOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(event.Version, event.Type, string(event.Data))
	}
	// Output:
	// at version 2
	// 1 OrderPlaced {"amount":1299}
	// 2 OrderPaid {"amount":1299}
}

func ExampleStore_Append_conflict() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	event := eventstore.Event{Type: "SeatTaken", Data: []byte(`{"seat":"4A"}`)}
	_, _ = store.Append(ctx, "flight-7", eventstore.NoStream(), event)

	_, err := store.Append(ctx, "flight-7", eventstore.NoStream(), event)
	var conflict *eventstore.ConflictError
	if errors.As(err, &conflict) {
		fmt.Println("somebody was faster; the stream is at version", conflict.Actual)
	}
	// Output: somebody was faster; the stream is at version 1
}

func ExampleStore_AppendStreams() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	event := func(t string) []eventstore.Event { return []eventstore.Event{{Type: t, Data: []byte(`{}`)}} }

	// All or nothing: the debit is not stored without the credit.
	results, err := store.AppendStreams(ctx,
		eventstore.StreamAppend{Stream: "account-1", Expected: eventstore.Any(), Events: event("Debited")},
		eventstore.StreamAppend{Stream: "account-2", Expected: eventstore.Any(), Events: event("Credited")},
	)
	fmt.Println(len(results), err)
	// Output: 2 <nil>
}

func ExampleStore_ReadAll() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	for _, stream := range []string{"order-1", "invoice-1", "order-2"} {
		_, _ = store.Append(ctx, stream, eventstore.NoStream(), eventstore.Event{Type: "Opened", Data: []byte(`{}`)})
	}

	filter := eventstore.Filter{Category: "order"}
	for event, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{Filter: filter, Backward: true}) {
		fmt.Println(event.Stream, event.Position, err)
	}
	// Output:
	// order-2 3 <nil>
	// order-1 1 <nil>
}

func ExampleStore_Subscribe() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	_, _ = store.Append(ctx, "order-1", eventstore.NoStream(), eventstore.Event{Type: "OrderPlaced", Data: []byte(`{}`)})

	for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		switch message.Kind {
		case eventstore.MessageEvent:
			fmt.Println("got", message.Event.Type, "at", message.Position)
		case eventstore.MessageCaughtUp:
			fmt.Println("caught up; what comes now is live")
			return // leaving the loop ends the subscription
		case eventstore.MessageProgress:
		}
	}
	// Output:
	// got OrderPlaced at 1
	// caught up; what comes now is live
}

func ExampleStore_Run() {
	ctx, cancel := context.WithCancel(context.Background())
	store := openExample()
	defer func() { _ = store.Close() }()
	_, _ = store.Append(ctx, "order-1", eventstore.NoStream(), eventstore.Event{Type: "OrderPlaced", Data: []byte(`{}`)})

	err := store.Run(ctx, eventstore.Subscription{
		Name:       "billing",
		ParkStream: "parked-billing", // what fails for good is set aside here
		Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
			fmt.Println("billing", event.Type)
			cancel() // an application runs on until it shuts down
			return nil
		},
	})
	fmt.Println(errors.Is(err, context.Canceled))
	checkpoint, _, _ := store.LoadCheckpoint(context.Background(), "billing")
	fmt.Println("done up to", checkpoint.Position)
	// Output:
	// billing OrderPlaced
	// true
	// done up to 1
}

func ExampleStore_LoadSnapshot() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	added := eventstore.Event{Type: "ItemAdded", Data: []byte(`{}`)}
	_, _ = store.Append(ctx, "cart-1", eventstore.NoStream(), added, added, added)
	_ = store.SaveSnapshot(ctx, eventstore.Snapshot{Stream: "cart-1", Type: "Cart", Version: 2, Data: []byte(`{"items":2}`)})

	snapshot, ok, err := store.LoadSnapshot(ctx, "cart-1", "Cart")
	fmt.Println(ok, err, string(snapshot.Data))
	for event, err := range store.ReadStream(ctx, "cart-1", eventstore.ReadOptions{After: snapshot.Version}) {
		fmt.Println("then", event.Version, event.Type, err)
	}
	// Output:
	// true <nil> {"items":2}
	// then 3 ItemAdded <nil>
}

func ExampleEvent_CausedBy() {
	order := eventstore.RecordedEvent{Event: eventstore.Event{Type: "OrderPlaced"}.WithCorrelationID("checkout-7")}
	invoice := eventstore.Event{Type: "InvoiceSent", Data: []byte(`{}`)}.CausedBy(order).WithSchemaVersion(2)
	fmt.Println(invoice.CorrelationID(), invoice.SchemaVersion())
	// Output: checkout-7 2
}
