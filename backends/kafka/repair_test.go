package kafka_test

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// keeping is a kind of record that a compacted topic keeps, each with a number that the
// highest of counts.
type keeping struct {
	topic  string
	key    []byte
	save   func(t *testing.T, backend *kafka.Backend, number int) error
	encode func(number int) []byte
	// number is that of what a backend loads, and alone what a record says by itself.
	number func(t *testing.T, backend *kafka.Backend) uint64
	alone  func(t *testing.T, value []byte) uint64
}

// keepings are the two kinds in a store that has a stream of some events.
func keepings(t *testing.T, p place, id uuid.UUID, store *eventstore.Store) map[string]keeping {
	t.Helper()
	appendTo(t, store, "s", 3)
	var places []eventstore.Place
	for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		places = append(places, event.Place())
	}
	checkpoint := func(number int) eventstore.Checkpoint {
		return eventstore.Checkpoint{Name: "n", Place: places[number-1], Store: id}
	}
	snapshot := func(number int) eventstore.Snapshot {
		return eventstore.Snapshot{Stream: "s", Type: "T", Version: uint64(number), SchemaVersion: 1, Data: []byte("{}")}
	}
	return map[string]keeping{
		"checkpoint": {
			topic: p.store + ".checkpoints", key: fold.ProgressKey("n", 0, uuid.Nil),
			save: func(t *testing.T, backend *kafka.Backend, number int) error {
				t.Helper()
				return backend.Records().Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: checkpoint(number)})
			},
			encode: func(number int) []byte {
				return fold.Progress{Log: id, Found: true, Checkpoint: checkpoint(number)}.Encode()
			},
			number: func(t *testing.T, backend *kafka.Backend) uint64 {
				t.Helper()
				loaded, err := backend.Records().Checkpoints.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "n"})
				require.NoError(t, err)
				return loaded.Checkpoint.Place.Version
			},
			alone: func(t *testing.T, value []byte) uint64 {
				t.Helper()
				compacted := fold.NewSubscriptions(id)
				_, err := compacted.Fold(fold.ProgressKey("n", 0, uuid.Nil), value)
				require.NoError(t, err)
				return compacted.Current("n", fold.Lease{}).Checkpoint.Place.Version
			},
		},
		"snapshot": {
			topic: p.store + ".snapshots", key: fold.SnapshotKey("s", "T"),
			save: func(t *testing.T, backend *kafka.Backend, number int) error {
				t.Helper()
				return backend.Records().Snapshots.Save(t.Context(), eventstore.SaveSnapshotRequest{Snapshot: snapshot(number)})
			},
			encode: func(number int) []byte { return fold.EncodeSnapshot(id, snapshot(number)) },
			number: func(t *testing.T, backend *kafka.Backend) uint64 {
				t.Helper()
				loaded, err := backend.Records().Snapshots.Load(t.Context(), eventstore.LoadSnapshotRequest{Stream: "s", Type: "T"})
				require.NoError(t, err)
				return loaded.Snapshot.Version
			},
			alone: func(t *testing.T, value []byte) uint64 {
				t.Helper()
				kept, _, err := fold.DecodeSnapshot(fold.SnapshotKey("s", "T"), value)
				require.NoError(t, err)
				return kept.Version
			},
		},
	}
}

// last is the number that is left when the topic is compacted.
func (k keeping) last(t *testing.T, p place) (number uint64) {
	t.Helper()
	c := connection.New(p.brokers, []string{k.topic}, nil)
	defer c.Close()
	fetched, err := c.Fetch(t.Context(), k.topic, 0, connection.FetchOptions{MaxBytes: 1 << 20, Wait: time.Second})
	require.NoError(t, err)
	for _, record := range fetched.Records {
		if bytes.Equal(record.Key, k.key) {
			number = k.alone(t, record.Value)
		}
	}
	return number
}

func TestAWriterThatWasOvertakenWritesAgainWhatCounts(t *testing.T) {
	_, p := newDouble(t, 1)
	fast, store := p.open(t, kafka.Options{})
	var armed atomic.Bool
	reached, goOn := make(chan struct{}), make(chan struct{})
	slow, _ := p.open(t, kafka.Options{Transport: beforeRequests(func(key int16) error {
		if key == produceKey && armed.CompareAndSwap(true, false) {
			reached <- struct{}{}
			<-goOn
		}
		return nil
	})})
	for name, k := range keepings(t, p, fast.ID(), store) {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, k.save(t, fast, 1))
			require.EqualValues(t, 1, k.number(t, slow))
			armed.Store(true)
			saved := make(chan error, 1)
			go func() { saved <- k.save(t, slow, 2) }()
			<-reached
			require.NoError(t, k.save(t, fast, 3))
			goOn <- struct{}{}
			require.NoError(t, <-saved)
			require.EqualValues(t, 3, k.last(t, p), "or compaction would lose it")
			require.EqualValues(t, 3, k.number(t, slow))
			require.EqualValues(t, 3, k.number(t, fast))
		})
	}
}

// Its writer has died before it could.
func TestWhoeverReadsATopicFromItsBeginningWritesAgainWhatCounts(t *testing.T) {
	_, p := newDouble(t, 1)
	backend, store := p.open(t, kafka.Options{})
	for name, k := range keepings(t, p, backend.ID(), store) {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, k.save(t, backend, 3))
			dying := connection.New(p.brokers, []string{k.topic}, nil)
			defer dying.Close()
			_, err := dying.Produce(t.Context(), k.topic, []connection.Record{{Key: k.key, Value: k.encode(2)}})
			require.NoError(t, err)
			require.EqualValues(t, 2, k.last(t, p), "so far")
			next, _ := p.open(t, kafka.Options{})
			require.EqualValues(t, 3, k.number(t, next))
			require.EqualValues(t, 3, k.last(t, p))
		})
	}
}
