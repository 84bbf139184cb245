package eventstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestASnapshotThatIsAheadOfItsStreamIsNotUsed(t *testing.T) {
	backend := newScripted()
	store := backend.open(t, nil)
	fill(t, store, 3)
	for version, used := range map[uint64]bool{2: true, 3: true, 4: false} {
		require.NoError(t, backend.Records().Snapshots.Save(t.Context(), eventstore.SaveSnapshotRequest{
			Snapshot: eventstore.Snapshot{Stream: "order-1", Type: "State", Version: version, SchemaVersion: 1, Data: []byte("{}")},
		}), "as a restored backup leaves it")
		_, found, err := store.LoadSnapshot(t.Context(), "order-1", "State")
		require.NoError(t, err)
		require.Equal(t, used, found, "version %d", version)
		require.NoError(t, store.DeleteSnapshot(t.Context(), "order-1", "State"))
	}
}
