// Command postgres opens the store that its argument names, in memory or in
// PostgreSQL, and appends to it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func main() {
	ctx := context.Background()
	store, err := backends.Set{memory.Scheme(), postgres.Scheme()}.Open(ctx, os.Args[1], nil)
	if err != nil {
		log.Fatal(err)
	}
	result, err := store.Append(ctx, "hello-1", eventstore.Any(), eventstore.Event{Type: "Hello", Data: []byte("{}")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Version)
}
