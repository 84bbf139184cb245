// The start example is the first screen of docs/tutorial.md.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	store, err := all.Open(ctx, "memory:", nil) // or sqlite:orders.db, or from a config file
	if err != nil {
		return err
	}
	defer store.Close()
	placed, err := eventstore.JSONEvent("OrderPlaced", map[string]any{"amount": 1299})
	if err != nil {
		return err
	}
	res, err := store.Append(ctx, "order-42", eventstore.NoStream(), placed) // nobody placed it before
	if err != nil {
		return err // errors.Is(err, eventstore.ErrConflict): somebody did
	}
	paid, err := eventstore.JSONEvent("OrderPaid", map[string]any{"amount": 1299})
	if err != nil {
		return err
	}
	if _, err := store.Append(ctx, "order-42", eventstore.Exactly(res.Version), paid); err != nil {
		return err
	}
	for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) { // from the first event, without end
		if err != nil {
			return err
		}
		if message.Kind == eventstore.MessageCaughtUp {
			break
		}
		fmt.Println(message.Event.Stream, message.Event.Version, message.Event.Type)
	}
	return nil
}
