package ownertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// Own is the part of an owner, as [TakeOvers] starts it.
const Own = "own"

const (
	lease           = 900 * time.Millisecond
	checkpointEvery = 10 // events
	pace            = time.Millisecond
)

// Play opens the store whose URL is the process's argument, and works with it until a
// SIGTERM or the work's end. It returns what the process is to exit with. nil work is
// an owner's.
func Play(open func(context.Context, *url.URL) (eventstore.Backend, error), work func(context.Context, *eventstore.Store) error) int {
	if work == nil {
		work = own
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := play(ctx, open, work); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

func play(ctx context.Context, open func(context.Context, *url.URL) (eventstore.Backend, error), work func(context.Context, *eventstore.Store) error) error {
	if len(os.Args) < 2 {
		return errors.New("no URL was given")
	}
	u, err := url.Parse(os.Args[1])
	if err != nil {
		return errors.New("the argument is no URL") // and may hold a password
	}
	backend, err := open(ctx, u)
	if err != nil {
		return err
	}
	store, err := eventstore.New(backend, &eventstore.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	fmt.Println(ready)
	return errors.Join(work(ctx, store), store.Close())
}

// own runs the subscription and says what it handles: the number that the writer gave
// each event.
func own(ctx context.Context, store *eventstore.Store) error {
	return store.Run(ctx, eventstore.Subscription{
		Name: "billing", LeaseTTL: lease, CheckpointEvery: checkpointEvery,
		Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
			_ = sleep.For(ctx, pace)
			_, err := fmt.Printf("handled %s\n", event.Data)
			return err
		},
	})
}
