package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A file that is renamed while COMMIT runs may have taken the commit along.
func TestAFileThatGoesAwayDuringCommitLeavesTheOutcomeUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	b, err := Open(t.Context(), path, nil)
	require.NoError(t, err)
	defer b.Close()
	w := <-b.writer
	hooks, ok := w.conn.Conn.(sqlite.HookRegisterer)
	require.True(t, ok)
	hooks.RegisterCommitHook(func() int32 {
		require.NoError(t, os.Rename(path, path+".old"))
		return 0
	})
	b.writer <- w
	request := eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{
		Stream: "s-1", Expected: eventstore.NoStream(), Events: []eventstore.Event{{ID: uuid.New(), Type: "T", Data: []byte("1")}},
	}}}
	_, err = b.Append(t.Context(), request)
	require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorContains(t, err, "was renamed or deleted")
	_, err = b.Append(t.Context(), request)
	require.Error(t, err)
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, "the next attempt does not begin")
}
