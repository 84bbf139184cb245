package eventtest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventtest"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

func TestAStoreIsEmptyAndClosedWithTheTest(t *testing.T) {
	var store *eventstore.Store
	t.Run("test", func(t *testing.T) {
		store = eventtest.NewStore(t)
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		require.Zero(t, info.Head)
	})
	_, err := store.Info(t.Context())
	require.ErrorIs(t, err, eventstore.ErrClosed)
}

func TestWhatWasExportedIsLoadedAsItWas(t *testing.T) {
	from, to := eventtest.NewStore(t), eventtest.NewStore(t)
	events := []eventstore.Event{
		{ID: uuid.New(), Type: "A", Data: []byte(` {"n" : 1}`), Metadata: map[string]string{"k": "v", "$correlationId": "c"}},
		{ID: uuid.New(), Type: "B", Data: []byte{0, 1, 0xff}, ContentType: "application/octet-stream"},
	}
	for _, stream := range []string{"order-1", "order-2", "order-1"} {
		_, err := from.Append(t.Context(), stream, eventstore.Any(), eventstore.Event{Type: "Other", Data: []byte("1")})
		require.NoError(t, err)
	}
	_, err := from.Append(t.Context(), "order-1", eventstore.Exactly(2), events...)
	require.NoError(t, err)
	var exported bytes.Buffer
	_, err = transfer.Export(t.Context(), from, &exported, nil)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "events.ndjson")
	require.NoError(t, os.WriteFile(path, exported.Bytes(), 0o600))

	for range 2 { // loading again changes nothing
		eventtest.Load(t, to, path)
		require.Equal(t, all(t, from), all(t, to))
	}
}

func all(t *testing.T, store *eventstore.Store) []eventstore.RecordedEvent {
	t.Helper()
	var events []eventstore.RecordedEvent
	for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		events = append(events, e)
	}
	return events
}

func TestAFileThatCannotBeLoadedFailsWithItsLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	load := func(tb testing.TB) { eventtest.Load(tb, eventtest.NewStore(tb), path) }
	require.Contains(t, failures(t, load), "load events: open "+path)
	good, err := os.ReadFile("testdata/order-42.ndjson")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(good, "{\n"...), 0o600))
	require.Contains(t, failures(t, load), "load events of "+path+": line 3: ")
}
