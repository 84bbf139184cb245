package linelog_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	linelog "github.com/switchyard-dev/switchyard/examples/custom-backend"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Name: "linelog",
		Open: func(ctx context.Context) (*conformance.Fixture, error) {
			dir, err := os.MkdirTemp("", "linelog") //nolint:usetesting // each check has a folder, and removes it
			if err != nil {
				return nil, err
			}
			open := func(ctx context.Context) (eventstore.Backend, error) {
				return linelog.Open(ctx, filepath.Join(dir, "events.log"))
			}
			backend, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return &conformance.Fixture{
				Backend:          backend,
				OpenAgain:        open,
				OpenPolling:      open,                                       // there are no notifications to lose
				Restart:          func(context.Context) error { return nil }, // there is no server: the suite reopens the file
				HoldWriterReason: "a writer holds the file's lock from its check to its write, and takes its positions between",
				Remove:           func(context.Context) error { return os.RemoveAll(dir) },
			}, nil
		},
	})
}

func TestALineThatWasCutShortByACrashIsForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	open := func() *eventstore.Store {
		backend, err := linelog.Open(t.Context(), path)
		require.NoError(t, err)
		store, err := eventstore.New(backend, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	}
	event := eventstore.Event{Type: "Happened", Data: []byte(`{}`)}
	_, err := open().Append(t.Context(), "s-1", eventstore.NoStream(), event)
	require.NoError(t, err)

	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = file.WriteString(`{"append":[{"Stream":"s-1","Vers`)
	require.NoError(t, err)
	require.NoError(t, file.Close())

	result, err := open().Append(t.Context(), "s-1", eventstore.Exactly(1), event)
	require.NoError(t, err)
	require.Equal(t, uint64(2), result.Version)
}
