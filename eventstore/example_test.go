package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// openExample opens a store for the examples. An application opens one by URL
// with all.Open, or from a backend's own constructor.
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

	filter := eventstore.Filter{Categories: []string{"order"}}
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
			fmt.Println("got", message.Event.Type, "at", message.Place.Position)
		case eventstore.MessageCaughtUp:
			fmt.Println("caught up; what comes now is live")
			return // leaving the loop ends the subscription
		case eventstore.MessageProgress, eventstore.MessageSealed:
		}
	}
	// Output:
	// got OrderPlaced at 1
	// caught up; what comes now is live
}

func ExampleStore_Run() {
	ctx, shutDown := context.WithCancel(context.Background())
	store := openExample()
	defer func() { _ = store.Close() }()
	_, _ = store.Append(ctx, "order-1", eventstore.NoStream(), eventstore.Event{Type: "OrderPlaced", Data: []byte(`{}`)})

	err := store.Run(ctx, eventstore.Subscription{
		Name:       "billing",
		ParkStream: "parked-billing", // what fails for good is set aside here
		Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
			fmt.Println("billing", event.Type)
			shutDown() // an application runs on until it shuts down
			return nil
		},
	})
	fmt.Println("ended with", err)
	checkpoint, _, _ := store.LoadCheckpoint(context.Background(), "billing")
	fmt.Println("done up to", checkpoint.Place)
	// Output:
	// billing OrderPlaced
	// ended with <nil>
	// done up to 1 (version 1 of stream "order-1")
}

func ExampleStore_Run_untilCaughtUp() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	for range 3 {
		_, _ = store.Append(ctx, "order-1", eventstore.Any(), eventstore.Event{Type: "OrderChanged", Data: []byte(`{}`)})
	}

	// A function that is called now and then handles what is there, and returns. How
	// many batches that takes depends on what has arrived when the first is handled.
	events := 0
	var last eventstore.Position
	err := store.Run(ctx, eventstore.Subscription{
		Name:          "report",
		UntilCaughtUp: true,
		HandleBatch: func(_ context.Context, batch eventstore.Batch) error {
			// A target that has transactions saves batch.Checkpoint in the same one.
			events, last = events+len(batch.Events), batch.Checkpoint.Place.Position
			return nil
		},
	})
	fmt.Println(events, "events, up to", last, err)
	// Output: 3 events, up to 3 <nil>
}

func ExampleStore_Run_parked() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	_, _ = store.Append(ctx, "order-1", eventstore.NoStream(), eventstore.Event{Type: "OrderPlaced", Data: []byte(`{"total":-1}`)})
	bill := func(eventstore.RecordedEvent) error { return errors.New("a negative total") }

	err := store.Run(ctx, eventstore.Subscription{
		Name:        "billing",
		Handler:     func(_ context.Context, event eventstore.RecordedEvent) error { return bill(event) },
		Concurrency: 8, // orders side by side, the events of each in their order
		Retry:       eventstore.HandlerRetry{Attempts: 2, Pause: time.Millisecond},
		ParkStream:  "parked-billing",

		UntilCaughtUp: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	for link, err := range store.ReadStream(ctx, "parked-billing", eventstore.ReadOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		var parked eventstore.Parked
		if err := json.Unmarshal(link.Data, &parked); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(parked.Stream, parked.Version, parked.Error)
	}
	// Output: order-1 1 a negative total
}

func ExampleStore_ResetCheckpoint() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	placed := eventstore.Event{Type: "OrderPlaced", Data: []byte(`{}`)}
	first, _ := store.Append(ctx, "order-1", eventstore.NoStream(), placed)
	_, _ = store.Append(ctx, "order-2", eventstore.NoStream(), placed)
	report := eventstore.Subscription{
		Name:          "report",
		UntilCaughtUp: true,
		Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
			fmt.Println("reported", event.Stream)
			return nil
		},
	}
	_ = store.Run(ctx, report)

	// Once more from after the first order; whoever runs "report" now is fenced.
	err := store.ResetCheckpoint(ctx, eventstore.Checkpoint{Name: "report", Place: first.Events[0].Place()})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = store.Run(ctx, report)

	// Once more from the beginning.
	if err := store.DeleteCheckpoint(ctx, "report"); err != nil {
		fmt.Println(err)
		return
	}
	_ = store.Run(ctx, report)
	// Output:
	// reported order-1
	// reported order-2
	// reported order-2
	// reported order-1
	// reported order-2
}

func ExampleForeignCheckpointError() {
	ctx := context.Background()
	store := openExample() // restored from a backup; the checkpoint is from before
	defer func() { _ = store.Close() }()
	lost := eventstore.Place{Position: eventstore.NewPosition(1, 0), Stream: "order-9", Version: 1, ID: uuid.New()}
	_, _ = store.Append(ctx, "order-1", eventstore.NoStream(), eventstore.Event{Type: "OrderPlaced", Data: []byte(`{}`)})
	info, _ := store.Info(ctx)
	kept := &keptElsewhere{eventstore.Checkpoint{Name: "billing", Store: info.ID, Place: lost}}
	bill := func(context.Context, eventstore.RecordedEvent) error { return nil }

	err := store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: bill, Checkpoints: kept})
	var foreign *eventstore.ForeignCheckpointError
	switch {
	case errors.As(err, &foreign):
		fmt.Println("handled, and lost by the store:", foreign.Place)
	case errors.Is(err, eventstore.ErrCheckpointAhead):
		fmt.Println("the store ends before what was handled")
	}
	// Output: handled, and lost by the store: 1 (version 1 of stream "order-9")
}

// keptElsewhere is a checkpoint that an application keeps beside its read model.
type keptElsewhere struct{ checkpoint eventstore.Checkpoint }

func (k *keptElsewhere) Load(context.Context, eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	return eventstore.LoadCheckpointResult{Checkpoint: k.checkpoint, Found: true}, nil
}

func (k *keptElsewhere) Save(_ context.Context, req eventstore.SaveCheckpointRequest) error {
	k.checkpoint = req.Checkpoint
	return nil
}

func (k *keptElsewhere) Delete(context.Context, eventstore.DeleteCheckpointRequest) error { return nil }

func (k *keptElsewhere) List(context.Context, eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error) {
	return eventstore.ListCheckpointsResult{Checkpoints: []eventstore.Checkpoint{k.checkpoint}}, nil
}

// SwapLease says yes to everybody: this one is for a single process.
func (k *keptElsewhere) SwapLease(_ context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	return eventstore.SwapLeaseResult{Lease: req.New, Swapped: true}, nil
}

func ExampleStore_AppendStreams_check() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	opened := eventstore.Event{Type: "AccountOpened", Data: []byte(`{}`)}
	limit, _ := store.Append(ctx, "limit-1", eventstore.NoStream(), opened)
	_, _ = store.Append(ctx, "limit-1", eventstore.Any(), opened) // somebody changes what was read

	_, err := store.AppendStreams(ctx,
		eventstore.StreamAppend{Stream: "account-1", Expected: eventstore.NoStream(), Events: []eventstore.Event{opened}},
		eventstore.StreamAppend{Stream: "limit-1", Expected: eventstore.Exactly(limit.Version)}, // no events: a check
	)
	fmt.Println(errors.Is(err, eventstore.ErrConflict))
	// Output: true
}

func ExampleUnknownOutcomeError() {
	settle := func(ctx context.Context, store *eventstore.Store, err error) error {
		var unknown *eventstore.UnknownOutcomeError
		for errors.As(err, &unknown) { // the database was away for longer than RetryFor
			_, err = store.AppendStreams(ctx, unknown.Parts...)
		}
		return err // nil: stored, once; otherwise nothing was written
	}
	fmt.Println(settle(context.Background(), openExample(), nil))
	// Output: <nil>
}

func ExampleStore_Seal() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	placed := eventstore.Event{Type: "OrderPlaced", Data: []byte(`{}`)}
	_, _ = store.Append(ctx, "order-1", eventstore.NoStream(), placed)

	info, err := store.Seal(ctx, "moved to PostgreSQL")
	fmt.Println("nothing comes after", info.Head.Position, err)
	_, err = store.Append(ctx, "order-2", eventstore.NoStream(), placed)
	fmt.Println(err)
	for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if message.Kind == eventstore.MessageSealed {
			fmt.Println("everything was delivered")
			break
		}
	}
	// Output:
	// nothing comes after 1 <nil>
	// append to stream "order-2": the store is sealed: moved to PostgreSQL
	// everything was delivered
}

func ExampleStore_ListCheckpoints() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	result, _ := store.Append(ctx, "order-1", eventstore.NoStream(), eventstore.Event{Type: "OrderPlaced", Data: []byte(`{}`)})
	_ = store.SaveCheckpoint(ctx, eventstore.Checkpoint{Name: "billing", Place: result.Events[0].Place()})

	for checkpoint, err := range store.ListCheckpoints(ctx) {
		fmt.Println(checkpoint.Name, checkpoint.Place, err)
	}
	// Output: billing 1 (version 1 of stream "order-1") <nil>
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
