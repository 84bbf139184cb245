package pgrecords

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
)

type snapshots struct{ r *Records }

func (s snapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (result eventstore.LoadSnapshotResult, err error) {
	snapshot := eventstore.Snapshot{Stream: req.Stream, Type: req.Type}
	err = s.r.Call(ctx, func(ctx context.Context) error {
		var table int64
		var version, schemaVersion pgtype.Int8 // null where there is no snapshot
		err := s.r.Pool.QueryRow(ctx, s.r.sql.loadSnapshot, req.Stream, req.Type).Scan(&table, &version, &schemaVersion, &snapshot.Data)
		if err == nil {
			err = s.r.checkTable(table)
		}
		snapshot.Version, snapshot.SchemaVersion = uint64(version.Int64), int(schemaVersion.Int64)
		result.Found = err == nil && version.Valid
		return err
	})
	if result.Found {
		result.Snapshot = snapshot
	}
	return result, err
}

func (s snapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	snapshot := req.Snapshot
	return s.r.Call(ctx, func(ctx context.Context) error {
		_, err := s.r.change(ctx, s.r.sql.saveSnapshot,
			snapshot.Stream, snapshot.Type, int64(min(snapshot.Version, math.MaxInt64)), snapshot.SchemaVersion, notNil(snapshot.Data))
		return err
	})
}

func (s snapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	return s.r.Call(ctx, func(ctx context.Context) error {
		_, err := s.r.change(ctx, s.r.sql.deleteSnapshot, req.Stream, req.Type)
		return err
	})
}

// notNil is for data that is empty and not absent.
func notNil(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
