package codec

import (
	"context"
	"maps"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// carriedKey is the context's key of the metadata that it carries: a map that is
// never changed.
type carriedKey struct{}

func carriedBy(ctx context.Context) map[string]string {
	carried, _ := ctx.Value(carriedKey{}).(map[string]string)
	return carried
}

// WithMetadata returns a context in which every event is encoded with these keys, and
// with those that ctx carries already and that are not among them. The map is copied.
func WithMetadata(ctx context.Context, metadata map[string]string) context.Context {
	if len(metadata) == 0 {
		return ctx
	}
	before := carriedBy(ctx)
	carried := make(map[string]string, len(before)+len(metadata))
	maps.Copy(carried, before)
	maps.Copy(carried, metadata)
	return context.WithValue(ctx, carriedKey{}, carried)
}

// WithCorrelation returns a context in which every event belongs to a conversation;
// see [eventstore.MetaCorrelationID]. An empty id changes nothing.
func WithCorrelation(ctx context.Context, id string) context.Context {
	if id == "" {
		return ctx
	}
	return WithMetadata(ctx, map[string]string{eventstore.MetaCorrelationID: id})
}

// WithCause returns a context in which every event continues the conversation of
// another and names it as its cause; see [eventstore.Event.CausedBy].
func WithCause(ctx context.Context, event eventstore.RecordedEvent) context.Context {
	return WithMetadata(ctx, eventstore.Event{}.CausedBy(event).Metadata)
}
