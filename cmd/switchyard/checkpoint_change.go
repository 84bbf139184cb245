package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func (a *app) checkpointResetCommand() *cobra.Command {
	var to string
	var create bool
	cmd := &cobra.Command{
		Use:   "reset URL NAME --to POSITION|start|end",
		Short: "Set where a subscription goes on, also backward",
		Long: `Set where a subscription goes on: after the last event at or before a position, from the
first event (start), or after the last one (end). Whoever runs it now loses its lease,
may finish the events in its hands, and begins again there.

Backward, events are handled again: their effects outside of the store happen again
too. Forward, what lies between is not handled.`,
		Example: `  switchyard checkpoint reset @orders billing --to 1200`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usagef("say where with --to POSITION, --to start or --to end")
			}
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				return a.resetCheckpoint(cmd.Context(), store, args[1], to, create)
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "`position` to go on after, start or end")
	cmd.Flags().BoolVar(&create, "create", false, "make the checkpoint where the store keeps none of that name")
	return cmd
}

func (a *app) resetCheckpoint(ctx context.Context, store *handle, name, to string, create bool) error {
	if ownCheckpoint(name) {
		return usagef("checkpoint %s is no subscription's but Switchyard's own, and has no other place", safe(name))
	}
	_, lease, found, unfit, err := find(ctx, store, name)
	var foreign *eventstore.ForeignCheckpointError
	switch {
	case err != nil:
		return err
	case errors.As(unfit, &foreign) && foreign.Checkpoint != foreign.Store:
		return unfit
	case !found && lease.Epoch == 0 && !create:
		return unknownCheckpoint(ctx, store, name, " (--create makes it)")
	}
	place, err := placeAt(ctx, store.Store, to)
	if err != nil {
		return err
	}
	if err := store.ResetCheckpoint(ctx, eventstore.Checkpoint{Name: name, Place: place}); err != nil {
		return err
	}
	a.warnOwner(name, lease)
	if a.json() {
		return a.printJSON(map[string]any{"name": name, "position": place.Position, "owner": lease.Owner})
	}
	if place.IsZero() {
		return a.printf("checkpoint %s goes on from the first event\n", safe(name))
	}
	return a.printf("checkpoint %s goes on after position %s, version %d of stream %s\n", safe(name), place.Position, place.Version, safe(place.Stream))
}

// placeAt is the place of the last event at or before a position.
func placeAt(ctx context.Context, store *eventstore.Store, to string) (eventstore.Place, error) {
	if to == "start" {
		return eventstore.Place{}, nil
	}
	info, err := store.Info(ctx)
	if err != nil || to == "end" {
		return info.Head, err
	}
	var position eventstore.Position
	if err := parsePosition("--to", to, &position); err != nil {
		return eventstore.Place{}, err
	}
	if info.Head.Position.Before(position) {
		return eventstore.Place{}, usagef("--to %s is ahead of the store's last event, at %s; --to end goes on after that", position, info.Head.Position)
	}
	// A position is never computed: what is asked for is the event before the next one.
	var next eventstore.Position
	for event, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{After: position, Limit: 1}) {
		if err != nil {
			return eventstore.Place{}, err
		}
		next = event.Position
	}
	if next.IsZero() {
		return info.Head, nil
	}
	for event, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{Before: next, Backward: true, Limit: 1}) {
		return event.Place(), err
	}
	return eventstore.Place{}, nil
}

// warnOwner tells who runs a subscription that was fenced.
func (a *app) warnOwner(name string, lease leaseState) {
	if lease.Owner != "" {
		a.tell("warning: the lease of %s is %s. Its owner is fenced now, and begins again at the new place.", safe(name), lease)
	}
}

func (a *app) checkpointDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete URL NAME",
		Short: "Delete a checkpoint: its subscription starts anew",
		Long: `Delete a checkpoint. Its subscription starts anew, also where it runs now: whoever has
its lease loses it. To start after another event, use reset.`,
		Example: `  switchyard checkpoint delete @orders report-v1`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				return a.deleteCheckpoint(cmd.Context(), store, args[1])
			})
		},
	}
}

func (a *app) deleteCheckpoint(ctx context.Context, store *handle, name string) error {
	checkpoint, lease, found, _, err := find(ctx, store, name)
	switch {
	case err != nil:
		return err
	case !found:
		return unknownCheckpoint(ctx, store, name, "")
	}
	if err := store.DeleteCheckpoint(ctx, name); err != nil {
		return err
	}
	a.warnOwner(name, lease)
	if a.json() {
		return a.printJSON(map[string]any{"name": name, "deleted": true, "position": checkpoint.Place.Position, "owner": lease.Owner})
	}
	return a.printf("checkpoint %s is deleted; it was at position %s\n", safe(name), checkpoint.Place.Position)
}
