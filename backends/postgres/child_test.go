package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/ownertest"
)

// childWrite is the part of a process that appends.
const childWrite = "write"

// playChild does what this test binary is to do as another process.
func playChild(part string) int {
	open := func(ctx context.Context, u *url.URL) (eventstore.Backend, error) { return postgres.OpenURL(ctx, u) }
	return ownertest.Play(open, map[string]func(context.Context, *eventstore.Store) error{childWrite: childWrites}[part])
}

// childWrites appends until the store is sealed, and says what is acknowledged.
func childWrites(ctx context.Context, store *eventstore.Store) error {
	for {
		result, err := store.Append(ctx, fmt.Sprintf("order-%d", os.Getpid()), eventstore.Any(), event("Placed", "{}"))
		var sealed *eventstore.SealedError
		if errors.As(err, &sealed) {
			fmt.Println("sealed", sealed.Reason)
			return nil
		}
		if err != nil {
			return err
		}
		high, _ := result.Position.Words()
		fmt.Println("stored", high)
	}
}
