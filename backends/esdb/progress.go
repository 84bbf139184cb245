package esdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

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

	next uint64 // the version to write the next one at
}

// The types of records. A deleted one is replaced by a record that says so,
// which needs no right to delete and keeps the order of writes.
const (
	kindIdentity   = "SwitchyardIdentity"
	kindCheckpoint = "SwitchyardCheckpoint"
	kindSnapshot   = "SwitchyardSnapshot"
	kindDeleted    = "SwitchyardDeleted"
)

// load returns a stream's record; its kind is empty where there is none.
func (b *Backend) load(ctx context.Context, name string) (record, error) {
	var r record
	err := b.conn.readStream(ctx, streamRead{stream: name, backward: true, from: fromEnd, count: 1}, func(read *recorded) bool {
		r = record{kind: read.eventType, data: read.data, meta: read.meta, next: read.revision + 1}
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
	turn := b.tails.get(name) // as appends do: those of one process would only refuse each other
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

// loadIdentity returns the store's identity, and writes one where it has none,
// unless the options forbid it.
func (b *Backend) loadIdentity(ctx context.Context) (uuid.UUID, error) {
	var identity struct {
		ID uuid.UUID `json:"id"`
	}
	err := b.save(ctx, b.names.identity(), func(stored record) (*record, error) {
		if stored.kind != "" {
			return nil, json.Unmarshal(stored.data, &identity)
		}
		if b.options.NoCreate {
			return nil, &eventstore.InvalidError{Field: "server", Reason: fmt.Sprintf("it holds no store in namespace %q; check the name, or make one first (switchyard init)", b.names.namespace)}
		}
		identity.ID = uuid.New()
		data, err := json.Marshal(identity)
		return &record{kind: kindIdentity, json: true, data: data}, err
	})
	if err == nil && identity.ID == uuid.Nil {
		err = errors.New("the stream of the store's identity holds something else")
	}
	return identity.ID, err
}

// Checkpoints implements [eventstore.Backend].
func (b *Backend) Checkpoints() eventstore.Checkpoints { return checkpoints{b} }

type checkpoints struct{ b *Backend }

// storedCheckpoint is the data of a checkpoint's record.
type storedCheckpoint struct {
	Store    uuid.UUID           `json:"store"`
	Position eventstore.Position `json:"position"`
}

func (c checkpoints) Load(ctx context.Context, name string) (eventstore.Checkpoint, bool, error) {
	if err := c.b.ready(ctx); err != nil {
		return eventstore.Checkpoint{}, false, err
	}
	stored, err := c.b.load(ctx, c.b.names.checkpoint(name))
	if err != nil || stored.kind == "" {
		return eventstore.Checkpoint{}, false, err
	}
	var data storedCheckpoint
	if err := json.Unmarshal(stored.data, &data); err != nil {
		return eventstore.Checkpoint{}, false, fmt.Errorf("esdb: checkpoint %q cannot be read: %w", name, err)
	}
	return eventstore.Checkpoint{Name: name, Store: data.Store, Position: data.Position}, true, nil
}

func (c checkpoints) Save(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	data, err := json.Marshal(storedCheckpoint{checkpoint.Store, checkpoint.Position})
	if err != nil {
		return fmt.Errorf("esdb: checkpoint %q: %w", checkpoint.Name, err)
	}
	return c.b.save(ctx, c.b.names.checkpoint(checkpoint.Name), func(stored record) (*record, error) {
		var old storedCheckpoint
		if stored.kind != "" {
			if err := json.Unmarshal(stored.data, &old); err != nil {
				return nil, fmt.Errorf("esdb: checkpoint %q cannot be read: %w", checkpoint.Name, err)
			}
			if !old.Position.Before(checkpoint.Position) {
				return nil, nil //nolint:nilnil // it only moves forward
			}
		}
		return &record{kind: kindCheckpoint, json: true, data: data}, nil
	})
}

func (c checkpoints) Delete(ctx context.Context, name string) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	return c.b.remove(ctx, c.b.names.checkpoint(name))
}

// Snapshots implements [eventstore.Backend].
func (b *Backend) Snapshots() eventstore.Snapshots { return snapshots{b} }

type snapshots struct{ b *Backend }

// storedSnapshot is the metadata of a snapshot's record; the data is the caller's.
type storedSnapshot struct {
	Stream        string `json:"stream"`
	Type          string `json:"type"`
	Version       uint64 `json:"version"`
	SchemaVersion int    `json:"schemaVersion"`
}

func (s snapshots) Load(ctx context.Context, stream, snapshotType string) (eventstore.Snapshot, bool, error) {
	if err := s.b.ready(ctx); err != nil {
		return eventstore.Snapshot{}, false, err
	}
	stored, err := s.b.load(ctx, s.b.names.snapshot(stream, snapshotType))
	if err != nil || stored.kind == "" {
		return eventstore.Snapshot{}, false, err
	}
	var about storedSnapshot
	if err := json.Unmarshal(stored.meta, &about); err != nil {
		return eventstore.Snapshot{}, false, fmt.Errorf("esdb: snapshot %q of stream %q cannot be read: %w", snapshotType, stream, err)
	}
	data := stored.data
	if data == nil {
		data = []byte{}
	}
	return eventstore.Snapshot{
		Stream: stream, Type: snapshotType, Version: about.Version,
		SchemaVersion: about.SchemaVersion, Data: data,
	}, true, nil
}

func (s snapshots) Save(ctx context.Context, snapshot eventstore.Snapshot) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	meta, err := json.Marshal(storedSnapshot{snapshot.Stream, snapshot.Type, snapshot.Version, snapshot.SchemaVersion})
	if err != nil {
		return fmt.Errorf("esdb: snapshot %q of stream %q: %w", snapshot.Type, snapshot.Stream, err)
	}
	return s.b.save(ctx, s.b.names.snapshot(snapshot.Stream, snapshot.Type), func(stored record) (*record, error) {
		var old storedSnapshot
		if stored.kind != "" {
			if err := json.Unmarshal(stored.meta, &old); err != nil {
				return nil, fmt.Errorf("esdb: snapshot %q of stream %q cannot be read: %w", snapshot.Type, snapshot.Stream, err)
			}
			if old.Version > snapshot.Version {
				return nil, nil //nolint:nilnil // a newer one is stored
			}
		}
		return &record{kind: kindSnapshot, data: snapshot.Data, meta: meta}, nil
	})
}

func (s snapshots) Delete(ctx context.Context, stream, snapshotType string) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	return s.b.remove(ctx, s.b.names.snapshot(stream, snapshotType))
}
