package marten

import (
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// prepared is an append as a store's columns take it. It is made by the caller, before the
// append is in a group that others wait for.
type prepared struct {
	layout *layout
	parts  []preparedPart
}

type preparedPart struct {
	key    streamKey
	events []storedEvent
}

// prepare encodes an append. Its errors are of what the store cannot hold.
func (b *Backend) prepare(parts []eventstore.StreamAppend) (*prepared, error) {
	p := &prepared{layout: b.layout.Load(), parts: make([]preparedPart, len(parts))}
	for i, part := range parts {
		key, err := b.names.stream(part.Stream)
		if err != nil {
			return nil, err
		}
		p.parts[i] = preparedPart{key: key, events: make([]storedEvent, len(part.Events))}
		for j, event := range part.Events {
			if p.parts[i].events[j], err = b.encode(event); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// preparedOf returns what the caller has prepared, or prepares anew where the tables were
// migrated meanwhile.
func (b *Backend) preparedOf(call *adapter.GroupedAppend) (*prepared, error) {
	if p, ok := call.Prepared.(*prepared); ok && p.layout == b.layout.Load() {
		return p, nil
	}
	p, err := b.prepare(call.Parts)
	if err == nil {
		call.Prepared = p
	}
	return p, err
}
