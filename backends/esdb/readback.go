package esdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// written is what the server's answer to an append says: the last event's version
// and position, and nothing of the events before it.
type written struct {
	stream   string
	version  uint64
	position eventstore.Position
	count    int
}

// readBack reads where and when the events of an append were stored. If it cannot,
// an append that is stored has no answer: making it again finds it.
func (b *Backend) readBack(ctx context.Context, w written) ([]eventstore.Recorded, error) {
	before := w.version - uint64(w.count)
	stored, found := make([]eventstore.Recorded, w.count), 0
	take := func(read *recorded) bool {
		if i := read.revision - before; read.stream == w.stream && i < uint64(w.count) && stored[i].Version == 0 {
			stored[i] = recordedAt(decode(read, ""))
			found++
		}
		return true
	}
	err := b.conn.readStream(ctx, streamRead{stream: w.stream, from: before, count: uint64(w.count)}, take)
	if (err == nil || errors.Is(err, errNoStream)) && found < w.count && !w.position.IsZero() {
		// The stream shows not all of them, where another client keeps it short or has
		// deleted it since. The log has them until it is scavenged, side by side.
		err = b.conn.readAll(ctx, w.position, false, serverFilter{}, 1, take)
		if err == nil && w.count > 1 {
			err = b.conn.readAll(ctx, w.position, true, serverFilter{}, w.count-1, take)
		}
	}
	if err == nil && found < w.count {
		err = fmt.Errorf("%d of the %d events up to version %d are there", found, w.count, w.version)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read back what was written: %w", eventstore.ErrUnknownOutcome, err)
	}
	return stored, nil
}
