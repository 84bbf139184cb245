package esdb

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

type snapshots struct{ b *Backend }

// storedSnapshot is the metadata of a snapshot's record; the data is the caller's.
type storedSnapshot struct {
	Stream        string `json:"stream"`
	Type          string `json:"type"`
	Version       uint64 `json:"version"`
	SchemaVersion int    `json:"schemaVersion"`
}

func (s snapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	if err := s.b.ready(ctx); err != nil {
		return eventstore.LoadSnapshotResult{}, err
	}
	stored, err := s.b.load(ctx, s.b.names.snapshot(req.Stream, req.Type))
	if err != nil || stored.kind == "" {
		return eventstore.LoadSnapshotResult{}, err
	}
	var about storedSnapshot
	if err := json.Unmarshal(stored.meta, &about); err != nil {
		return eventstore.LoadSnapshotResult{}, fmt.Errorf("esdb: snapshot %q of stream %q cannot be read: %w", req.Type, req.Stream, err)
	}
	data := stored.data
	if data == nil {
		data = []byte{}
	}
	return eventstore.LoadSnapshotResult{Found: true, Snapshot: eventstore.Snapshot{
		Stream: req.Stream, Type: req.Type, Version: about.Version, SchemaVersion: about.SchemaVersion, Data: data,
	}}, nil
}

func (s snapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	snapshot := req.Snapshot
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

func (s snapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	if err := s.b.ready(ctx); err != nil {
		return err
	}
	return s.b.remove(ctx, s.b.names.snapshot(req.Stream, req.Type))
}
