package sqlite

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	loadCheckpoint   = `SELECT store, position FROM checkpoints WHERE name = ?`
	saveCheckpoint   = `INSERT INTO checkpoints (name, store, position) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET store = excluded.store, position = excluded.position WHERE excluded.position > position`
	deleteCheckpoint = `DELETE FROM checkpoints WHERE name = ?`

	loadSnapshot   = `SELECT version, schema_version, data FROM snapshots WHERE stream = ? AND type = ?`
	saveSnapshot   = `INSERT INTO snapshots (stream, type, version, schema_version, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT (stream, type) DO UPDATE SET version = excluded.version, schema_version = excluded.schema_version, data = excluded.data WHERE excluded.version >= version`
	deleteSnapshot = `DELETE FROM snapshots WHERE stream = ? AND type = ?`
)

// Checkpoints implements [eventstore.Backend].
func (b *Backend) Checkpoints() eventstore.Checkpoints { return checkpoints{b} }

// Snapshots implements [eventstore.Backend].
func (b *Backend) Snapshots() eventstore.Snapshots { return snapshots{b} }

type checkpoints struct{ b *Backend }

func (c checkpoints) Load(ctx context.Context, name string) (eventstore.Checkpoint, bool, error) {
	found, err := withReader(ctx, c.b, "load checkpoint", func(c *conn) (*eventstore.Checkpoint, error) {
		row, ok, err := c.row(loadCheckpoint, 2, name)
		if err != nil || !ok {
			return nil, err
		}
		store, _ := row[0].([]byte)
		position, _ := row[1].(int64)
		id, err := uuid.FromBytes(store)
		return &eventstore.Checkpoint{Name: name, Store: id, Position: positionOf(position)}, err
	})
	if err != nil || found == nil {
		return eventstore.Checkpoint{}, false, err
	}
	return *found, true, nil
}

func (c checkpoints) Save(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	return c.b.change(ctx, "save checkpoint", saveCheckpoint, checkpoint.Name, checkpoint.Store[:], rowID(checkpoint.Position))
}

func (c checkpoints) Delete(ctx context.Context, name string) error {
	return c.b.change(ctx, "delete checkpoint", deleteCheckpoint, name)
}

type snapshots struct{ b *Backend }

func (s snapshots) Load(ctx context.Context, stream, snapshotType string) (eventstore.Snapshot, bool, error) {
	found, err := withReader(ctx, s.b, "load snapshot", func(c *conn) (*eventstore.Snapshot, error) {
		row, ok, err := c.row(loadSnapshot, 3, stream, snapshotType)
		if err != nil || !ok {
			return nil, err
		}
		version, ok1 := row[0].(int64)
		schemaVersion, ok2 := row[1].(int64)
		data, ok3 := row[2].([]byte)
		if !ok1 || !ok2 || !ok3 {
			return nil, errors.New("the row is not a snapshot; delete it and fold the stream anew")
		}
		return &eventstore.Snapshot{
			Stream: stream, Type: snapshotType,
			Version: uint64(version), SchemaVersion: int(schemaVersion), Data: data,
		}, nil
	})
	if err != nil || found == nil {
		return eventstore.Snapshot{}, false, err
	}
	return *found, true, nil
}

func (s snapshots) Save(ctx context.Context, snapshot eventstore.Snapshot) error {
	return s.b.change(ctx, "save snapshot", saveSnapshot,
		snapshot.Stream, snapshot.Type, int64(snapshot.Version), int64(snapshot.SchemaVersion), blob(snapshot.Data))
}

func (s snapshots) Delete(ctx context.Context, stream, snapshotType string) error {
	return s.b.change(ctx, "delete snapshot", deleteSnapshot, stream, snapshotType)
}
