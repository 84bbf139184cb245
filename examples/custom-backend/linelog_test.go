package linelog

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
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
				return Open(ctx, filepath.Join(dir, "events.log"))
			}
			backend, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return &conformance.Fixture{
				Backend:     backend,
				OpenAgain:   open,
				OpenPolling: open,                                       // there are no notifications to lose
				Restart:     func(context.Context) error { return nil }, // there is no server: the suite reopens the file
				HoldWriter: func(ctx context.Context, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
					return holdWriter(ctx, filepath.Join(dir, "events.log"), part)
				},
				Remove: func(context.Context) error { return os.RemoveAll(dir) },
			}, nil
		},
	})
}

// holdWriter writes half a line, as a writer does that is stopped in the middle.
func holdWriter(ctx context.Context, path string, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
	b, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	if _, err := b.lock.TryLockContext(ctx, lockRetry); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	now := time.Now().UTC()
	part.RecordedAt = &now
	text, err := json.Marshal(line{Append: []eventstore.StreamAppend{part}})
	half := len(text) / 2
	if err = errors.Join(err, b.catchUp(ctx)); err == nil {
		_, err = b.file.WriteAt(text[:half], b.offset)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return func() (eventstore.AppendResult, error) {
		_, err := b.file.WriteAt(append(text[half:], '\n'), b.offset+int64(half))
		err = errors.Join(err, b.lock.Unlock())
		info, infoErr := b.Info(context.WithoutCancel(ctx))
		return eventstore.AppendResult{Version: info.Head.Version, Position: info.Head.Position}, errors.Join(err, infoErr, b.Close())
	}, nil
}

func TestALineThatCouldNotBeWrittenLeavesNothingBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	backend, err := Open(t.Context(), path)
	require.NoError(t, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	event := eventstore.Event{Type: "Happened", Data: []byte(`{}`)}
	_, err = store.Append(t.Context(), "s-1", eventstore.NoStream(), event)
	require.NoError(t, err)

	writable := backend.file
	backend.file, err = os.Open(path)
	require.NoError(t, err)
	_, err = store.Append(t.Context(), "s-1", eventstore.Any(), event)
	require.Error(t, err)
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome)
	require.NoError(t, backend.file.Close())
	backend.file = writable
	version, err := store.StreamVersion(t.Context(), "s-1")
	require.NoError(t, err)
	require.Equal(t, uint64(1), version, "what was not written was not appended")
	result, err := store.Append(t.Context(), "s-1", eventstore.Exactly(1), event)
	require.NoError(t, err)
	require.Equal(t, uint64(2), result.Version)
}

func TestALineThatWasCutShortByACrashIsForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	open := func() *eventstore.Store {
		backend, err := Open(t.Context(), path)
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
