// Command compatible links KurrentDB's own client and every adapter but esdb.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/kurrent-io/KurrentDB-Client-Go/kurrentdb"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/backends/sqlite"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	set := backends.Set{memory.Scheme(), sqlite.Scheme(), postgres.Scheme(), marten.Scheme(), kafka.Scheme(), dynamodb.Scheme()}
	store, err := set.Open(context.Background(), "memory:", nil)
	if err != nil {
		return err
	}
	defer store.Close()
	config, err := kurrentdb.ParseConnectionString("kurrentdb://localhost:2113?tls=false")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, "both are here:", store.Capabilities().Backend, config.Address)
	return err
}
