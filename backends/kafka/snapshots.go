package kafka

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// snapshots keeps the latest snapshot of each stream and type in a compacted topic,
// and in memory where each of them is.
type snapshots struct {
	table
	kept  *fold.Snapshots
	lower bool // the record that was folded last has a lower version than one before it
}

func newSnapshots(b *Backend, topic string) *snapshots {
	s := &snapshots{table: newTable(b, topic), kept: fold.NewSnapshots(b.id)}
	s.restart = func() { s.kept = fold.NewSnapshots(b.id) }
	s.repair = func(ctx context.Context) error {
		for _, key := range s.kept.Lower() {
			if err := s.writeAgain(ctx, key); err != nil {
				return err
			}
		}
		return nil
	}
	s.take = func(record connection.Record) (err error) {
		s.lower, err = s.kept.Fold(record.Offset, record.Key, record.Value)
		return err
	}
	return s
}

// Load implements [eventstore.Snapshots].
func (s *snapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (result eventstore.LoadSnapshotResult, err error) {
	err = s.use(ctx, func(ctx context.Context) error {
		if err := s.view(ctx, false); err != nil {
			return err
		}
		value, found, err := s.read(ctx, fold.SnapshotKey(req.Stream, req.Type))
		if err != nil || !found {
			return err
		}
		result.Snapshot, _, err = fold.DecodeSnapshot(fold.SnapshotKey(req.Stream, req.Type), value)
		result.Found = err == nil
		return err
	})
	return result, err
}

// Save implements [eventstore.Snapshots].
func (s *snapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	snapshot := req.Snapshot
	key := fold.SnapshotKey(snapshot.Stream, snapshot.Type)
	value := fold.EncodeSnapshot(s.b.id, snapshot)
	if size := len(key) + len(value); size > s.b.most {
		return &eventstore.InvalidError{Field: "snapshot data", Reason: fmt.Sprintf("the snapshot is %d bytes as a record, limit %d", size, s.b.most)}
	}
	return s.use(ctx, func(ctx context.Context) error {
		if err := s.view(ctx, true); err != nil {
			return err
		}
		if kept, ok := s.kept.Find(key); ok && kept.Version > snapshot.Version {
			return nil
		}
		if err := s.put(ctx, key, value); err != nil {
			return err
		}
		// Another process may have saved a higher version meanwhile, before this one.
		// Compaction keeps the last record: it is written again.
		for s.lower {
			if err := s.writeAgain(ctx, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeAgain makes the snapshot of a key that is kept its last record.
func (s *snapshots) writeAgain(ctx context.Context, key []byte) error {
	s.lower = false // as it is where the snapshot was deleted meanwhile
	kept, found, err := s.read(ctx, key)
	if err != nil || !found {
		return err
	}
	return s.put(ctx, key, kept)
}

// Delete implements [eventstore.Snapshots].
func (s *snapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	return s.use(ctx, func(ctx context.Context) error {
		if err := s.view(ctx, false); err != nil {
			return err
		}
		key := fold.SnapshotKey(req.Stream, req.Type)
		if _, ok := s.kept.Find(key); !ok {
			return nil
		}
		return s.put(ctx, key, nil)
	})
}

// read returns the snapshot of a key. One that was compacted away has a later record.
func (s *snapshots) read(ctx context.Context, key []byte) (value []byte, found bool, err error) {
	for {
		kept, ok := s.kept.Find(key)
		if !ok {
			return nil, false, nil
		}
		var fetched connection.Fetched
		err := s.b.conn.Again(ctx, readWithin, func() (err error) {
			fetched, err = s.b.conn.Fetch(ctx, s.topic, kept.Offset, connection.FetchOptions{MaxBytes: 1, Wait: time.Second})
			return err
		})
		if err != nil {
			return nil, false, err
		}
		if len(fetched.Records) > 0 && fetched.Records[0].Offset == kept.Offset && bytes.Equal(fetched.Records[0].Key, key) {
			return fetched.Records[0].Value, true, nil
		}
		if err := s.view(ctx, false); err != nil {
			return nil, false, err
		}
		if again, ok := s.kept.Find(key); ok && again == kept {
			return nil, false, fmt.Errorf("offset %d of topic %s: %w", kept.Offset, s.topic, errNoRecord)
		}
	}
}
