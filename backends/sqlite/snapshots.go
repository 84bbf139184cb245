package sqlite

import (
	"context"
	"errors"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	loadSnapshot   = `SELECT version, schema_version, data FROM snapshots WHERE stream = ? AND type = ?`
	saveSnapshot   = `INSERT INTO snapshots (stream, type, version, schema_version, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT (stream, type) DO UPDATE SET version = excluded.version, schema_version = excluded.schema_version, data = excluded.data WHERE excluded.version >= version`
	deleteSnapshot = `DELETE FROM snapshots WHERE stream = ? AND type = ?`
)

type snapshots struct{ b *Backend }

func (s snapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	return withReader(ctx, s.b, "load snapshot", func(c *conn) (eventstore.LoadSnapshotResult, error) {
		row, ok, err := c.row(loadSnapshot, 3, req.Stream, req.Type)
		if err != nil || !ok {
			return eventstore.LoadSnapshotResult{}, err
		}
		version, ok1 := row[0].(int64)
		schemaVersion, ok2 := row[1].(int64)
		data, ok3 := row[2].([]byte)
		if !ok1 || !ok2 || !ok3 {
			return eventstore.LoadSnapshotResult{}, errors.New("the row is not a snapshot; delete it and fold the stream anew")
		}
		return eventstore.LoadSnapshotResult{Found: true, Snapshot: eventstore.Snapshot{
			Stream: req.Stream, Type: req.Type,
			Version: uint64(version), SchemaVersion: int(schemaVersion), Data: data,
		}}, nil
	})
}

func (s snapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	snapshot := req.Snapshot
	return s.b.execute(ctx, "save snapshot", saveSnapshot,
		snapshot.Stream, snapshot.Type, int64(snapshot.Version), int64(snapshot.SchemaVersion), blob(snapshot.Data))
}

func (s snapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	return s.b.execute(ctx, "delete snapshot", deleteSnapshot, req.Stream, req.Type)
}
