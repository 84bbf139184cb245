package eventstore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func ExampleStore_RetryParked() {
	ctx := context.Background()
	store := openExample()
	defer func() { _ = store.Close() }()
	_, _ = store.Append(ctx, "order-1", eventstore.NoStream(), eventstore.Event{Type: "Placed", Data: []byte(`{}`)})

	mended := false
	billing := eventstore.Subscription{
		Name: "billing", ParkStream: "parked-billing", UntilCaughtUp: true, Retry: eventstore.HandlerRetry{Attempts: 1},
		Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
			if !mended {
				return errors.New("no price list for 2026")
			}
			fmt.Println("billed", event.Stream)
			return nil
		},
	}
	_ = store.Run(ctx, billing)

	parked, err := store.ParkedEvents(ctx, "parked-billing")
	for _, event := range parked {
		fmt.Println(event.Stream, event.Version, event.State, "-", event.Error)
	}
	mended = true // whatever it was
	if err == nil {
		err = store.RetryParked(ctx, "parked-billing", parked...)
	}

	_ = store.Run(ctx, billing) // the next one handles it, once
	parked, _ = store.ParkedEvents(ctx, "parked-billing")
	fmt.Println(parked[0].State, err)
	// Output:
	// order-1 1 parked - no price list for 2026
	// billed order-1
	// handled <nil>
}
