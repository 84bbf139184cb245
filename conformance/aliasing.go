package conformance

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func aliasingChecks() []Check {
	return []Check{
		{
			Name: "alias/append-keeps-copies", Promise: 20, Core: true,
			Sentence: "What a caller does with its buffers after Append changes nothing that is stored.",
			Run: func(ctx context.Context, env *Env) error {
				return appendKeepsCopies(ctx, env, env.Store.Append)
			},
		},
		{
			Name: "alias/append-leaves-input", Promise: 20, Core: true,
			Sentence: "Append changes nothing in what the caller passes to it.",
			Run:      appendLeavesInput,
		},
		{
			Name: "alias/returned-events", Promise: 20, Core: true,
			Sentence: "What a caller does to the events that it read changes no later read.",
			Run:      returnedEventsAreCallers,
		},
		{
			Name: "alias/kept-events", Promise: 20, Core: true,
			Sentence: "An event that a caller keeps stays as it was read, whatever is read and written later.",
			Run:      keptEventsStay,
		},
	}
}

// richEvents returns events with data and metadata to spoil.
func richEvents(env *Env, n int) []eventstore.Event {
	events := env.Events(n)
	for i := range events {
		events[i].Metadata = map[string]string{"key": "value", "other": "text"}
	}
	return events
}

// copyEvents returns events that share no memory with the given ones.
func copyEvents(events []eventstore.Event) []eventstore.Event {
	events = slices.Clone(events)
	for i := range events {
		events[i].Data = bytes.Clone(events[i].Data)
		events[i].Metadata = maps.Clone(events[i].Metadata)
	}
	return events
}

// spoil overwrites everything in an event that could be shared.
func spoil(event *eventstore.Event) {
	for i := range event.Data {
		event.Data[i] = '#'
	}
	for key := range event.Metadata {
		event.Metadata[key] = "spoilt"
	}
	if event.Metadata != nil {
		event.Metadata["added"] = "spoilt"
	}
}

type appendFunc func(ctx context.Context, stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) (eventstore.AppendResult, error)

func appendKeepsCopies(ctx context.Context, env *Env, do appendFunc) error {
	stream := env.Stream("Order")
	events := richEvents(env, 3)
	original := copyEvents(events)
	if _, err := do(ctx, stream, eventstore.NoStream(), events...); err != nil {
		return err
	}
	for i := range events {
		spoil(&events[i])
		events[i] = eventstore.Event{Type: "Spoilt"}
	}
	return expectEvents(ctx, env.Store, stream, original...)
}

func appendLeavesInput(ctx context.Context, env *Env) error {
	events := richEvents(env, 3)
	events[1].ID, events[1].ContentType, events[2].Metadata = uuid.Nil, "", nil
	original := copyEvents(events)
	streams := []string{env.Stream("Order"), env.Stream("Order")}
	if _, err := env.Store.Append(ctx, streams[0], eventstore.NoStream(), events...); err != nil {
		return err
	}
	if !env.Caps.StreamScopedIDs.Supported() {
		for i := range events {
			if events[i].ID != uuid.Nil {
				events[i].ID = env.ID()
				original[i].ID = events[i].ID
			}
		}
	}
	if _, err := env.Store.AppendStreams(ctx, part(streams[1], eventstore.NoStream(), events...)); err != nil {
		return err
	}
	for i, want := range original {
		if got := events[i]; got.ID != want.ID || !got.SameContent(want) || (got.Metadata == nil) != (want.Metadata == nil) {
			return unexpected(fmt.Sprintf("the caller's event %d", i+1), describe(want), describe(got))
		}
	}
	for _, stream := range streams {
		if version, err := env.Store.StreamVersion(ctx, stream); err != nil || version != 3 {
			return unexpected(fmt.Sprintf("version of stream %q", stream), 3, fmt.Sprintf("%d, error: %v", version, err))
		}
	}
	return nil
}

// reading is a way to read a stream's events from the beginning.
type reading struct {
	name string
	run  func() ([]eventstore.RecordedEvent, error)
}

// readings are all ways to read n events that are all there is.
func readings(ctx context.Context, env *Env, store *eventstore.Store, stream string, n int) []reading {
	all := []reading{{"ReadStream", func() ([]eventstore.RecordedEvent, error) {
		return collect(store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	}}}
	if !env.Caps.GlobalOrder.Supported() {
		return all
	}
	return append(all,
		reading{"ReadAll", func() ([]eventstore.RecordedEvent, error) {
			return collect(store.ReadAll(ctx, eventstore.ReadAllOptions{}))
		}},
		reading{"Subscribe", func() ([]eventstore.RecordedEvent, error) {
			var events []eventstore.RecordedEvent
			for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
				if err != nil {
					return nil, err
				}
				if message.Kind == eventstore.MessageEvent {
					events = append(events, message.Event)
				}
				if len(events) == n || message.Kind == eventstore.MessageCaughtUp {
					break
				}
			}
			return events, nil
		}},
	)
}

func returnedEventsAreCallers(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	events := richEvents(env, 4)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...); err != nil {
		return err
	}
	for _, spoiling := range readings(ctx, env, env.Store, stream, len(events)) {
		got, err := spoiling.run()
		if err != nil {
			return err
		}
		for i := range got {
			spoil(&got[i].Event)
		}
		for _, later := range readings(ctx, env, env.Store, stream, len(events)) {
			got, err := later.run()
			if err != nil {
				return err
			}
			if len(got) != len(events) {
				return unexpected(later.name, fmt.Sprintf("%d events", len(events)), len(got))
			}
			for i, event := range events {
				if err := expectEvent(got[i], stream, uint64(i)+1, event); err != nil {
					return fmt.Errorf("%s after what %s returned was overwritten: %w", later.name, spoiling.name, err)
				}
			}
		}
	}
	// An append that is compared with what is stored must still find it.
	result, err := env.Store.Append(ctx, stream, eventstore.Any(), events...)
	if err != nil || !result.Duplicate {
		return unexpected("the same append after what was read was overwritten", "a duplicate", fmt.Sprintf("%+v, error: %v", result, err))
	}
	return nil
}

func keptEventsStay(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	events := richEvents(env, 6)
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), events...); err != nil {
		return err
	}
	paged, err := env.NewStore(env.Fixture.Backend, eventstore.Options{PageSize: 2})
	if err != nil {
		return err
	}
	for _, read := range readings(ctx, env, paged, stream, len(events)) {
		kept, err := read.run() // page after page
		if err != nil {
			return err
		}
		for _, again := range readings(ctx, env, paged, stream, len(events)) {
			if _, err := again.run(); err != nil {
				return err
			}
		}
		if _, err := env.Store.Append(ctx, env.Stream("Other"), eventstore.Any(), richEvents(env, 2)...); err != nil {
			return err
		}
		for i, event := range events {
			if i >= len(kept) {
				return unexpected(read.name, fmt.Sprintf("%d events", len(events)), len(kept))
			}
			if err := expectEvent(kept[i], stream, uint64(i)+1, event); err != nil {
				return fmt.Errorf("an event that was kept from %s, after later reads and appends: %w", read.name, err)
			}
		}
	}
	return nil
}
