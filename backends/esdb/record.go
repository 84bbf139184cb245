package esdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The identity, checkpoints and snapshots are records: each is the last event of
// a stream of its own, of which the server keeps one ($maxCount).

// record is what such a stream holds.
type record struct {
	kind string // the event's type
	json bool
	data []byte
	meta []byte

	listed   string // the name that it is listed by, if it is
	next     uint64 // the version to write the next one at
	position eventstore.Position
}

// The types of records. A deleted one is replaced by a record that says so,
// which needs no right to delete and keeps the order of writes.
const (
	kindIdentity   = "SwitchyardIdentity"
	kindCheckpoint = "SwitchyardCheckpoint"
	kindName       = "SwitchyardCheckpointName"
	kindSnapshot   = "SwitchyardSnapshot"
	kindDeleted    = "SwitchyardDeleted"
)

// load returns a stream's record; its kind is empty where there is none.
func (b *Backend) load(ctx context.Context, name string) (record, error) {
	var r record
	err := b.conn.readStream(ctx, streamRead{stream: name, backward: true, from: fromEnd, count: 1}, func(read *recorded) bool {
		r = record{kind: read.eventType, data: read.data, meta: read.meta, next: read.revision + 1, position: read.position}
		return true
	})
	if err != nil && !errors.Is(err, errNoStream) {
		return record{}, mapError(ctx, err)
	}
	if r.kind == kindDeleted {
		r.kind = ""
	}
	return r, nil
}

// save replaces a stream's record by what change makes of it, until no other
// process comes in between. Nil leaves it as it is. A save whose answer was lost
// is ErrUnavailable: saving again does no harm.
func (b *Backend) save(ctx context.Context, name string, change func(stored record) (*record, error)) error {
	bounded, cancel := context.WithTimeout(ctx, b.conn.settings.writeTimeout)
	defer cancel()
	err := b.saveBounded(bounded, name, change)
	var sent *sentError
	if errors.As(err, &sent) {
		err = sent.err
	}
	return mapError(ctx, err)
}

func (b *Backend) saveBounded(ctx context.Context, name string, change func(stored record) (*record, error)) error {
	turn := b.cache.get(name) // as appends do: those of one process would only refuse each other
	if err := turn.lock(ctx); err != nil {
		return err
	}
	defer turn.unlock()
	for range maxRounds {
		stored, err := b.load(ctx, name)
		if err != nil {
			return err
		}
		fresh, err := change(stored)
		if err != nil || fresh == nil {
			return err
		}
		if stored.next == 0 {
			if fresh.listed != "" {
				if err := b.index(ctx, fresh.listed); err != nil {
					return err
				}
			}
			// The server is to keep the stream's last event only.
			keep := proposed{eventType: "$metadata", json: true, data: []byte(`{"$maxCount":1}`)}
			if _, _, err := b.conn.appendTo(ctx, "$$"+name, anyVersion, []proposed{keep}); err != nil {
				return err
			}
		}
		event := proposed{eventType: fresh.kind, json: fresh.json, data: fresh.data, meta: fresh.meta}
		_, _, err = b.conn.appendTo(ctx, name, stored.next, []proposed{event})
		var refusal *wrongVersionError
		if !errors.As(err, &refusal) {
			return err
		}
	}
	return fmt.Errorf("%w: other processes wrote %d times in between", eventstore.ErrUnavailable, maxRounds)
}

// remove replaces a record by one that says it is deleted.
func (b *Backend) remove(ctx context.Context, name string) error {
	return b.save(ctx, name, func(stored record) (*record, error) {
		if stored.kind == "" {
			return nil, nil //nolint:nilnil // nothing to write and no error
		}
		return &record{kind: kindDeleted, json: true, data: []byte(`{}`)}, nil
	})
}
