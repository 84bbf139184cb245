package conformance

import (
	"context"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The forms of requests that many checks make, each in one place.

func ofCategory(category string) eventstore.Filter { return eventstore.Filter{Category: category} }

func ofPrefix(prefix string) eventstore.Filter { return eventstore.Filter{StreamPrefix: prefix} }

func ofTypes(types ...string) eventstore.Filter { return eventstore.Filter{Types: types} }

// appendRaw appends one part as the Store does, without its checks.
func appendRaw(ctx context.Context, backend eventstore.Backend, part eventstore.StreamAppend) (eventstore.AppendResult, error) {
	results, err := backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{part}})
	if err != nil {
		return eventstore.AppendResult{}, err
	}
	return results[0], nil
}

// saveRaw saves a checkpoint without the Store's checks of it.
func saveRaw(ctx context.Context, backend eventstore.Backend, checkpoint eventstore.Checkpoint) error {
	return backend.Checkpoints().Save(ctx, checkpoint)
}

// loadRaw loads a checkpoint without the Store's checks of it.
func loadRaw(ctx context.Context, backend eventstore.Backend, name string) (eventstore.Checkpoint, bool, error) {
	return backend.Checkpoints().Load(ctx, name)
}

// duplicateOf is what the repetition of an append returns.
func duplicateOf(original eventstore.AppendResult) eventstore.AppendResult {
	original.Duplicate = true
	return original
}
