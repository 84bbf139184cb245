package conformance

import (
	"context"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Requests that many checks make, each in one place.

func ofCategory(category string) eventstore.Filter {
	return eventstore.Filter{Categories: []string{category}}
}

func ofPrefix(prefix string) eventstore.Filter {
	return eventstore.Filter{StreamPrefixes: []string{prefix}}
}

func ofTypes(types ...string) eventstore.Filter { return eventstore.Filter{Types: types} }

// saveRaw saves a checkpoint without the Store's checks of it.
func saveRaw(ctx context.Context, backend eventstore.Backend, checkpoint eventstore.Checkpoint) error {
	return backend.Records().Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: checkpoint})
}

// loadRaw loads a checkpoint without the Store's checks of it.
func loadRaw(ctx context.Context, backend eventstore.Backend, name string) (eventstore.Checkpoint, bool, error) {
	result, err := backend.Records().Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: name})
	return result.Checkpoint, result.Found, err
}

// duplicateOf is what the repetition of an append returns.
func duplicateOf(original eventstore.AppendResult) eventstore.AppendResult {
	original.Duplicate = true
	return original
}
