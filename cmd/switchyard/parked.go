package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func (a *app) parkedCommand() *cobra.Command {
	return commandGroup("parked", "List events that handlers failed on, retry and drop them",
		`A subscription with a park stream sets aside what its handler fails on for good. List
those events, have them handled once more, or drop them.

The log is append-only, so retry and drop append a record to the park stream. The
subscription's next Run handles a retried event, before what follows its checkpoint and
so out of its order, and appends the result.`,
		a.parkedListCommand(), a.parkedRetryCommand(), a.parkedDropCommand())
}

// parkedReport is a parked event as it is printed.
type parkedReport struct {
	EventID      uuid.UUID              `json:"eventId"`
	Subscription string                 `json:"subscription"`
	Stream       string                 `json:"stream"`
	Version      uint64                 `json:"version"`
	State        eventstore.ParkedState `json:"state"`
	Retries      int                    `json:"retries"`
	ParkedAt     time.Time              `json:"parkedAt"`
	ChangedAt    time.Time              `json:"changedAt"`
	Error        string                 `json:"error"`
}

func (a *app) parkedListCommand() *cobra.Command {
	var subscription string
	var all bool
	cmd := &cobra.Command{
		Use:   "list URL STREAM",
		Short: "List the parked events that have no result",
		Long: `List the events of a park stream that are parked, or whose retry was asked for and has no
result yet, in the order in which they were parked. The whole park stream is read.`,
		Example: `  switchyard parked list @orders parked-billing`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				events, err := parkedFor(cmd.Context(), store, args[1], subscription)
				if err != nil {
					return err
				}
				if !all {
					events = slices.DeleteFunc(events, func(e eventstore.ParkedEvent) bool { return !e.State.Open() })
				}
				return a.printParked(args[1], events)
			})
		},
	}
	cmd.Flags().StringVar(&subscription, "subscription", "", "only events that the subscription of this `name` parked")
	cmd.Flags().BoolVar(&all, "all", false, "also events that are handled or dropped")
	return cmd
}

// parkedFor returns a park stream's events, of one subscription where it is named.
func parkedFor(ctx context.Context, store *handle, stream, subscription string) ([]eventstore.ParkedEvent, error) {
	events, err := store.ParkedEvents(ctx, stream)
	return slices.DeleteFunc(events, func(e eventstore.ParkedEvent) bool {
		return subscription != "" && e.Subscription != subscription
	}), err
}

func (a *app) printParked(stream string, events []eventstore.ParkedEvent) error {
	if a.json() {
		for _, e := range events {
			err := a.printJSON(parkedReport{
				EventID: e.EventID, Subscription: e.Subscription, Stream: e.Stream, Version: e.Version,
				State: e.State, Retries: e.Retries, ParkedAt: e.ParkedAt, ChangedAt: e.ChangedAt, Error: e.Error,
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if len(events) == 0 {
		return a.printf("nothing is parked in %s\n", safe(stream))
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "event\tsubscription\tstream\tversion\tstate\tretries\tparked\terror\n")
	for _, e := range events {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\n",
			e.EventID, safe(e.Subscription), safe(e.Stream), e.Version, e.State, e.Retries, e.ParkedAt.Format(time.RFC3339), safe(e.Error))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func (a *app) parkedRetryCommand() *cobra.Command {
	return a.parkedAnswer("retry", "Have parked events handled once more", "asked for the retry of",
		`Ask for parked events to be handled once more. The next Run of the subscription does so:
when it starts, or when another process takes its lease. Asking again before that changes
nothing; an event that fails again is listed again, and can be asked for again.

A retried event is handled after later events of its stream: make sure that its handler
bears that.`, retried())
}

func (a *app) parkedDropCommand() *cobra.Command {
	return a.parkedAnswer("drop", "Record that parked events are not to be handled any more", "dropped",
		`Record that parked events are not to be handled any more. They stay in their streams, and
so do the records in the park stream; parked list shows them with --all alone.`, dropped())
}

// answer appends a record for each of several parked events. counts tells whether that of
// one did, which was as before, by what the event is now.
type answer struct {
	record func(*eventstore.Store, context.Context, string, ...eventstore.ParkedEvent) error
	counts func(before, now eventstore.ParkedEvent) bool
}

func retried() answer {
	return answer{(*eventstore.Store).RetryParked, func(before, now eventstore.ParkedEvent) bool {
		return now.Retries > before.Retries || before.State == eventstore.ParkedRetryRequested && now.State != eventstore.ParkedDropped
	}}
}

func dropped() answer {
	return answer{(*eventstore.Store).DropParked, func(_, now eventstore.ParkedEvent) bool { return now.State == eventstore.ParkedDropped }}
}

// give appends the records. Of several operators and a Run that change an event at once
// the first counts, and the others are told.
func (a answer) give(ctx context.Context, store *handle, stream string, events []eventstore.ParkedEvent) error {
	if len(events) == 0 {
		return nil
	}
	if err := a.record(store.Store, ctx, stream, events...); err != nil {
		return err
	}
	now, err := store.ParkedEvents(ctx, stream)
	if err != nil {
		return fmt.Errorf("look at what was recorded: %w", err)
	}
	type which struct {
		subscription, stream string
		version              uint64
		id                   uuid.UUID
	}
	of := func(e eventstore.ParkedEvent) which { return which{e.Subscription, e.Stream, e.Version, e.EventID} }
	found := make(map[which]eventstore.ParkedEvent, len(now))
	for _, e := range now {
		found[of(e)] = e
	}
	var late []string
	for _, before := range events {
		if now := found[of(before)]; !a.counts(before, now) {
			late = append(late, fmt.Sprintf("event %s of subscription %s is %s", before.EventID, safe(before.Subscription), now.State))
		}
	}
	if len(late) > 0 {
		return fmt.Errorf("%w: somebody else changed %d of %d events of %s at the same time, and that counts: %s",
			eventstore.ErrConflict, len(late), len(events), safe(stream), strings.Join(late[:min(len(late), 10)], ", "))
	}
	return nil
}

// parkedAnswer makes the commands that append records.
func (a *app) parkedAnswer(name, short, done, long string, answer answer) *cobra.Command {
	var subscription string
	var all bool
	cmd := &cobra.Command{
		Use:     name + " URL STREAM EVENT-ID... | --all",
		Short:   short,
		Long:    long,
		Example: "  switchyard parked " + name + " @orders parked-billing --all --subscription billing",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := eventIDs(args[2:])
			switch {
			case err != nil:
				return err
			case all == (len(ids) > 0):
				return usagef("name the events by their IDs, or all that are open with --all")
			}
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				events, err := parkedFor(cmd.Context(), store, args[1], subscription)
				if err != nil {
					return err
				}
				if len(events) == 0 && all {
					return nothingParked(args[1], subscription)
				}
				if events, err = pick(events, args[1], ids, subscription); err != nil {
					return err
				}
				if err := answer.give(cmd.Context(), store, args[1], events); err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(map[string]any{"stream": args[1], "events": len(events)})
				}
				return a.printf("%s %s of %s\n", done, count(len(events), "event"), safe(args[1]))
			})
		},
	}
	cmd.Flags().StringVar(&subscription, "subscription", "", "only events that the subscription of this `name` parked")
	cmd.Flags().BoolVar(&all, "all", false, "all events that have no result")
	return cmd
}

// nothingParked is the answer to --all where the stream may be misspelt.
func nothingParked(stream, subscription string) error {
	if subscription != "" {
		return usagef("nothing was ever parked in stream %s by subscription %s; give the names that the subscription has", safe(stream), safe(subscription))
	}
	return usagef("nothing was ever parked in stream %s; give the park stream that the subscription has", safe(stream))
}

// eventIDs returns each ID once.
func eventIDs(args []string) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	for _, arg := range args {
		id, err := uuid.Parse(arg)
		if err != nil {
			return nil, usagef("event ID %q is not a UUID; parked list shows them", arg)
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// pick returns the events with these IDs, or all that are open where there are none.
func pick(events []eventstore.ParkedEvent, stream string, ids []uuid.UUID, subscription string) ([]eventstore.ParkedEvent, error) {
	if len(ids) == 0 {
		return slices.DeleteFunc(events, func(e eventstore.ParkedEvent) bool { return !e.State.Open() }), nil
	}
	var picked []eventstore.ParkedEvent
	for _, id := range ids {
		var subscriptions []string
		for _, e := range events {
			if e.EventID == id {
				picked = append(picked, e)
				if !slices.Contains(subscriptions, safe(e.Subscription)) {
					subscriptions = append(subscriptions, safe(e.Subscription))
				}
			}
		}
		switch {
		case len(subscriptions) == 0 && subscription != "":
			return nil, usagef("event %s was not parked in stream %s by subscription %s; parked list --all shows what was", id, safe(stream), safe(subscription))
		case len(subscriptions) == 0:
			return nil, usagef("event %s was not parked in stream %s; parked list --all shows what was", id, safe(stream))
		case len(subscriptions) > 1:
			return nil, usagef("event %s was parked in stream %s by several subscriptions; say which one with --subscription: %s", id, safe(stream), strings.Join(subscriptions, ", "))
		}
	}
	return picked, nil
}
