// The start example is the code in the README.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func main() {
	ctx := context.Background()
	store, err := backends.Open(ctx, "memory:") // or sqlite:orders.db, or from a config file
	if err != nil {
		log.Fatal(err)
	}
	placed, _ := eventstore.JSONEvent("OrderPlaced", map[string]any{"amount": 1299})
	res, err := store.Append(ctx, "order-42", eventstore.NoStream(), placed) // nobody placed it before
	if err != nil {
		log.Fatal(err) // errors.Is(err, eventstore.ErrConflict): somebody did
	}
	paid, _ := eventstore.JSONEvent("OrderPaid", map[string]any{"amount": 1299})
	if _, err := store.Append(ctx, "order-42", eventstore.Exactly(res.Version), paid); err != nil {
		log.Fatal(err)
	}
	for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) { // from the first event, without end
		if err != nil || message.Kind == eventstore.MessageCaughtUp {
			break
		}
		fmt.Println(message.Event.Stream, message.Event.Version, message.Event.Type)
	}
}
