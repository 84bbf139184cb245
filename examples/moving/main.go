// The moving example is an application that stays up while its operator moves its
// store to another backend: customers order, a durable subscription bills, and a
// read model with a database of its own keeps totals.
//
//	go run ./examples/moving -config switchyard.yaml
//	switchyard move @orders postgres://db.example.com/orders   # and then change the line in switchyard.yaml
//
// While the store is moved its appends are refused with ErrSealed. The application
// then closes it, waits until its config file names another store, and goes on
// there with the orders that were refused. docs/moving.md tells the operator's part.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func main() {
	config := flag.String("config", "switchyard.yaml", "the file that names the store \"orders\"")
	customers := flag.Int("customers", 4, "how many order at once")
	totals := flag.String("totals", "sqlite:totals.db", "the URL of the read model's own database")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *config, *totals, *customers, func(line string) { fmt.Println(line) })
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "moving:", err)
		os.Exit(1)
	}
}

// run works until ctx is done. tell hears of what the application did.
func run(ctx context.Context, config, totals string, customers int, tell func(string)) error {
	keeper, err := all.Set().OpenBackend(ctx, totals)
	if err != nil {
		return err
	}
	defer func() { _ = keeper.Close() }()
	a := &application{config: config, keeper: keeper.Records().Checkpoints, tell: tell, totals: make(map[string]uint64)}
	for range customers {
		a.customers = append(a.customers, &customer{stream: "order-" + uuid.NewString()})
	}
	return a.run(ctx)
}

// application is what stays while its store is another one.
type application struct {
	config    string
	keeper    eventstore.Checkpoints // of the read model, beside its rows
	customers []*customer
	tell      func(string)

	mu     sync.Mutex
	totals map[string]uint64 // the read model: each stream's version
}

// customer orders again and again. What was refused is ordered in the next store,
// with the same ID: if it was stored after all, it is stored once.
type customer struct {
	stream  string
	version uint64
	pending eventstore.Event
}

func (a *application) run(ctx context.Context) error {
	for ctx.Err() == nil {
		before, err := os.ReadFile(a.config)
		if err != nil {
			return err
		}
		switch err := a.work(ctx); {
		case errors.Is(err, eventstore.ErrSealed):
			a.tell("waiting: " + err.Error())
			a.changed(ctx, before)
		case ctx.Err() == nil:
			return err
		}
	}
	return nil // it was told to end
}

// changed waits until the config file is another one than before, or ctx is done.
func (a *application) changed(ctx context.Context, before []byte) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now, err := os.ReadFile(a.config); err == nil && !bytes.Equal(now, before) {
			return
		}
	}
}

// work uses the store that the config file names, until it is sealed.
func (a *application) work(ctx context.Context) (err error) {
	store, err := all.OpenConfig(ctx, a.config, "orders", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range a.customers {
		group.Go(func() error { return a.order(ctx, store, c) })
	}
	group.Go(func() error {
		return store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
			a.tell("billed " + event.ID.String())
			return nil
		}})
	})
	group.Go(func() error {
		return store.Run(ctx, eventstore.Subscription{Name: "totals", Checkpoints: a.keeper, HandleBatch: func(_ context.Context, batch eventstore.Batch) error {
			return a.project(batch.Events)
		}})
	})
	return group.Wait()
}

// order appends to the customer's own stream until it is refused.
func (a *application) order(ctx context.Context, store *eventstore.Store, c *customer) error {
	for ctx.Err() == nil {
		if c.pending.ID == uuid.Nil {
			event, err := eventstore.JSONEvent("Ordered", map[string]uint64{"n": c.version + 1})
			if err != nil {
				return err
			}
			c.pending = event
			c.pending.ID = uuid.New()
		}
		_, err := store.Append(ctx, c.stream, eventstore.Exactly(c.version), c.pending)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err() // it is ordered again in the next store
		case errors.Is(err, eventstore.ErrUnknownOutcome):
			continue // asked again, it is stored once
		case err != nil:
			return err
		}
		a.tell("ordered " + c.pending.ID.String())
		c.version++
		c.pending = eventstore.Event{}
	}
	return ctx.Err()
}

// project counts each event once, whatever comes again, and finds every gap.
func (a *application) project(events []eventstore.RecordedEvent) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, event := range events {
		at := a.totals[event.Stream]
		switch {
		case event.Version > at+1:
			return fmt.Errorf("stream %q goes on at version %d after %d", event.Stream, event.Version, at)
		case event.Version == at+1:
			a.totals[event.Stream] = event.Version
		}
	}
	return nil
}
