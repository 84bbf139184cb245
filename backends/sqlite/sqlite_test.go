package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// open returns a store on the file at path, closed at the end of the test.
func open(t testing.TB, path string, opts *sqlite.Options) *eventstore.Store {
	t.Helper()
	backend, err := sqlite.Open(t.Context(), path, opts)
	require.NoError(t, err)
	store, err := eventstore.New(backend, &eventstore.Options{RetryFor: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func file(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "events.db")
}

func event(n int) eventstore.Event {
	return eventstore.Event{Type: "Tested", Data: fmt.Appendf(nil, `{"n":%d}`, n)}
}

func collect(t testing.TB, store *eventstore.Store) []eventstore.RecordedEvent {
	t.Helper()
	var all []eventstore.RecordedEvent
	for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		all = append(all, event)
	}
	return all
}

func TestAnAppendedEventComesBackAsItWas(t *testing.T) {
	path := file(t)
	want := eventstore.Event{
		Type: "Bestellt – 'quoted' \u200f", ContentType: "application/octet-stream", Data: []byte{0, 255, '\'', 0},
		Metadata: map[string]string{"empty": "", "html": "<&>\u2028", `"`: `\`},
	}
	at := time.Date(1883, 11, 18, 12, 3, 58, 123456789, time.FixedZone("", -5*3600))
	first := open(t, path, nil)
	_, err := first.AppendStreams(t.Context(), eventstore.StreamAppend{
		Stream: "Order-1", Expected: eventstore.NoStream(), Events: []eventstore.Event{want, {Type: "T", Data: []byte("1")}}, RecordedAt: new(at),
	})
	require.NoError(t, err)
	require.NoError(t, first.Close())

	got := collect(t, open(t, path, nil))
	require.Len(t, got, 2)
	want.ID = got[0].ID
	require.Equal(t, want, got[0].Event)
	require.Equal(t, "Order-1", got[0].Stream)
	require.Equal(t, uint64(1), got[0].Version)
	require.Equal(t, at.UTC().Truncate(time.Microsecond), got[0].RecordedAt)
	require.Nil(t, got[1].Metadata)
}

func TestASubscriptionHearsOfAnotherHandlesEvents(t *testing.T) {
	path := file(t)
	writer, reader := open(t, path, nil), open(t, path, &sqlite.Options{Poll: 5 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for message, err := range reader.Subscribe(ctx, eventstore.SubscribeOptions{}) {
		require.NoError(t, err)
		switch message.Kind {
		case eventstore.MessageCaughtUp:
			_, err := writer.Append(ctx, "s-1", eventstore.NoStream(), event(1))
			require.NoError(t, err)
		case eventstore.MessageEvent:
			return
		case eventstore.MessageProgress, eventstore.MessageSealed:
		}
	}
}
