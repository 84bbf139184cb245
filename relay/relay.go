package relay

import (
	"context"
	"fmt"
	"maps"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Publisher sends events to a broker or another receiver.
type Publisher interface {
	// Publish returns nil when the receiver has confirmed all events. They are
	// sent so that those with one [PartitionKey] arrive in their order: none of
	// them is sent before the one in front of it is confirmed, or together with it.
	//
	// Anything but nil makes the relay send all of them again. An error that
	// matches [eventstore.ErrUnavailable] says that the receiver is away, slow,
	// busy or refuses everything: it is waited out. Any other is the fault of an
	// event, and is counted against it.
	Publish(ctx context.Context, events []CloudEvent) error
}

// Translation makes of an event what is to be published of it: nothing, or one or
// several events. It is called again for an event that is sent again, and must then
// answer the same, with the same IDs: they are how consumers recognise a repetition.
type Translation func(ctx context.Context, event eventstore.RecordedEvent) ([]CloudEvent, error)

// New returns a durable subscription that publishes what translate makes of each
// event. Set its other fields, such as Filter, ParkStream and Retry, and pass it to
// [eventstore.Store.Run]. Translate is required, for internal events leave only where
// somebody says so; without it, or without a Publisher, Run fails with ErrInvalid.
//
// Delivery is at least once, in order by stream: events go out in batches of what is
// at hand, and a batch that fails is sent again whole. While the receiver is
// unavailable the relay waits. An event that it refuses, or that cannot be translated,
// is tried as often as Retry says; then it is parked, or Run stops with a
// [eventstore.HandlerError] that names it.
//
// What translate leaves without a [PartitionKey] gets the event's stream as its key.
// Two events that it makes of one event have different IDs, or sources.
func New(name string, to Publisher, translate Translation) eventstore.Subscription {
	sub := eventstore.Subscription{Name: name}
	if to != nil && translate != nil {
		sub.HandleBatch = (&relay{to: to, translate: translate}).handle
	}
	return sub
}

type relay struct {
	to        Publisher
	translate Translation
}

func (r *relay) handle(ctx context.Context, batch eventstore.Batch) error {
	events := make([]CloudEvent, 0, len(batch.Events))
	for _, event := range batch.Events {
		translated, err := r.translate(ctx, event)
		if err == nil {
			translated, err = check(event.Stream, translated)
		}
		if err != nil {
			return fmt.Errorf("translate event %s of stream %s: %w", event.ID, quoted(event.Stream), err)
		}
		events = append(events, translated...)
	}
	if len(events) == 0 {
		return nil
	}
	return r.to.Publish(ctx, events)
}

// check refuses what cannot be published, and gives events without a key that of
// their stream. What the translation returned is not changed.
func check(stream string, translated []CloudEvent) ([]CloudEvent, error) {
	type identity struct{ source, id string }
	checked, seen := make([]CloudEvent, 0, len(translated)), make(map[identity]struct{}, len(translated))
	for _, event := range translated {
		if event.Extensions[PartitionKey] == "" {
			event.Extensions = maps.Clone(event.Extensions)
			if event.Extensions == nil {
				event.Extensions = make(map[string]string, 1)
			}
			event.Extensions[PartitionKey] = stream
		}
		if err := event.Validate(); err != nil {
			return nil, err
		}
		who := identity{event.Source, event.ID}
		if _, twice := seen[who]; twice {
			return nil, invalid("id", "%s is that of two events of one source, of which consumers would drop one; derive an ID for each", quoted(event.ID))
		}
		seen[who] = struct{}{}
		checked = append(checked, event)
	}
	return checked, nil
}
