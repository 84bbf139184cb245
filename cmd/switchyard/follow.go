package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
)

type followFlags struct {
	filterFlags
	name, after string
	fromHead    bool
}

func (a *app) followCommand() *cobra.Command {
	var f followFlags
	cmd := &cobra.Command{
		Use:   "follow URL",
		Short: "Print events as they come, until Ctrl-C",
		Long: `Print every event of the store and then those that come, until Ctrl-C.

With --name it is a durable subscription: it notes in the store which events it has
printed, and goes on after them when it is started again. An event may be printed
twice after a crash, never left out. One process at a time follows by a name: others
wait, say so on standard error, and take over when it ends.

--from-head begins after the last event that the store has now; a subscription that has
begun already goes on where it was.`,
		Example: `  switchyard follow @orders --from-head
  switchyard follow @orders --name watch --category order`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				err := a.follow(cmd, store, f)
				if cmd.Context().Err() == nil || !errors.Is(err, context.Canceled) {
					return err
				}
				return nil // Ctrl-C is how it ends
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.name, "name", "", "`name` of a durable subscription, which goes on where it was")
	cmd.Flags().StringVar(&f.after, "after", "", "start after this `position`")
	cmd.Flags().BoolVar(&f.fromHead, "from-head", false, "start after the last event that the store has now")
	return cmd
}

func (a *app) follow(cmd *cobra.Command, store *handle, f followFlags) error {
	var after eventstore.Position
	if err := parsePosition("--after", f.after, &after); err != nil {
		return err
	}
	if f.fromHead && f.after != "" {
		return usagef("--after and --from-head exclude each other")
	}
	if f.fromHead {
		info, err := store.Info(cmd.Context())
		if err != nil {
			return err
		}
		after = info.Head.Position
	}
	printer, err := a.eventPrinter(cmd, store)
	if err != nil {
		return err
	}
	if f.name != "" {
		return store.Run(cmd.Context(), eventstore.Subscription{
			Name: f.name, After: after, Filter: f.filter(), Retry: eventstore.HandlerRetry{Attempts: 1},
			Checkpoints: a.tellWaiting(store, f.name),
			Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
				if err := printer.print(event); err != nil {
					return err
				}
				return printer.flush() // what is noted as printed has left this process
			},
		})
	}
	live := false
	for message, err := range store.Subscribe(cmd.Context(), eventstore.SubscribeOptions{After: after, Filter: f.filter()}) {
		if err != nil {
			return errors.Join(err, printer.flush())
		}
		switch message.Kind {
		case eventstore.MessageEvent:
			err = printer.print(message.Event)
		case eventstore.MessageCaughtUp:
			live = true
		case eventstore.MessageSealed:
			live = true
			fmt.Fprintln(a.err, "the store is sealed, and everything was printed; what comes after the seal is lifted is printed too")
		case eventstore.MessageProgress:
		}
		if live && err == nil {
			err = printer.flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// waiting tells for whom a subscription waits: its own log says so only to who
// asks for a log.
type waiting struct {
	eventstore.Checkpoints
	name  string
	told  string // the owner that was named last
	write func(format string, args ...any)
}

// tellWaiting returns a store's checkpoints; nil, which Run refuses with the
// reason, where it keeps none.
func (a *app) tellWaiting(store *handle, name string) eventstore.Checkpoints {
	if !store.Capabilities().Checkpoints.Supported() {
		return nil
	}
	return &waiting{Checkpoints: store.backend.Records().Checkpoints, name: name, write: func(format string, args ...any) {
		fmt.Fprintf(a.err, format, args...)
	}}
}

// SwapLease implements [eventstore.Checkpoints]. Run takes and renews its lease in
// one goroutine at a time.
func (w *waiting) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	result, err := w.Checkpoints.SwapLease(ctx, req)
	if err != nil || req.Name != w.name {
		return result, err
	}
	owner := result.Lease.Owner
	switch {
	case result.Swapped && w.told != "" && owner == req.New.Owner:
		w.told = ""
		w.write("subscription %s is this process's now\n", safe(req.Name))
	case !result.Swapped && owner != "" && owner != req.New.Owner && owner != w.told:
		w.told = owner
		w.write("waiting: subscription %s is followed by another process (%s)\n", safe(req.Name), safe(owner))
	}
	return result, nil
}
