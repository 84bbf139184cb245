package decider

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// React returns a durable subscription that calls handle with each event that c knows.
// Set its other fields, such as Filter.Categories, ParkStream and Concurrency, and pass
// it to [eventstore.Store.Run]. In handle, the context carries the cause: events that it
// encodes continue its conversation.
//
// Delivery is at least once. What handle does with [Cause.Command] still counts once,
// across crashes, parking and a checkpoint that was deleted. Two rules: a refusal by the
// domain is an outcome, to be appended as an event, and no error of handle, which is
// tried again and then parked; and a reaction that decided nothing may decide otherwise
// when its event is delivered again, so what must be remembered is an event.
//
// The name is part of the IDs: a reaction that is renamed does everything again.
func React[E any](name string, c *codec.Codec[E], handle func(ctx context.Context, cause *Cause, event E) error) eventstore.Subscription {
	if c == nil || handle == nil {
		return eventstore.Subscription{Name: name} // Run refuses it: it has no handler
	}
	return eventstore.Subscription{
		Name:   name,
		Filter: eventstore.Filter{Types: c.Types()},
		Handler: func(ctx context.Context, recorded eventstore.RecordedEvent) error {
			event, ok, err := c.Decode(ctx, recorded)
			if err != nil || !ok {
				return err
			}
			return handle(codec.WithCause(ctx, recorded), &Cause{RecordedEvent: recorded, reaction: name}, event)
		},
	}
}

// Cause is the event that a reaction is given, as it is stored.
type Cause struct {
	eventstore.RecordedEvent
	reaction string
}

// Command returns a command whose ID is made from the reaction, the cause, the stream and
// a name, such as "ship": delivered again, it counts once. Whoever asks with the same name
// gets the same command, and may do it again after an unknown outcome. Two commands on one
// stream therefore need two names: under one name the second is answered with the events
// of the first.
func (c *Cause) Command(stream, name string) Command {
	return Command{Stream: stream, ID: c.derived("command", stream, name)}
}

// Key is what Command's ID is, for an effect outside the store: an Idempotency-Key for a
// payment, a Message-ID for mail. It is the same each time the cause is delivered and
// whenever it is asked for; two effects need two names.
func (c *Cause) Key(effect string) uuid.UUID { return c.derived("effect", effect) }

// derived makes an ID from the reaction, the cause and what it is for. An event's ID is
// unique in its stream only.
func (c *Cause) derived(kind string, of ...string) uuid.UUID {
	parts := append([]string{kind, c.reaction, c.Stream}, of...)
	return uuid.NewSHA1(c.ID, []byte(strings.Join(parts, "\x00")))
}
