// Command memory opens a store by URL and appends to it.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func main() {
	ctx := context.Background()
	store, err := backends.Set{memory.Scheme()}.Open(ctx, "memory:", nil)
	if err != nil {
		log.Fatal(err)
	}
	result, err := store.Append(ctx, "hello-1", eventstore.NoStream(), eventstore.Event{Type: "Hello", Data: []byte("{}")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Version)
}
