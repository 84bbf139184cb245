package sqlite_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// holdLock takes the file's write lock, as another process would, until release.
func holdLock(t *testing.T, path string) (release func()) {
	t.Helper()
	db := raw(t, path)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	execConn(t, conn, "PRAGMA busy_timeout = 10000")
	execConn(t, conn, "BEGIN IMMEDIATE")
	return func() {
		execConn(t, conn, "ROLLBACK")
		require.NoError(t, conn.Close())
		require.NoError(t, db.Close())
	}
}

func execConn(t *testing.T, conn *sql.Conn, statement string) {
	t.Helper()
	_, err := conn.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}

func TestAFileThatStaysLockedIsADefiniteError(t *testing.T) {
	path := file(t)
	store := open(t, path, &sqlite.Options{BusyTimeout: 20 * time.Millisecond})
	release := holdLock(t, path)
	_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome)
	require.ErrorContains(t, err, "another process holds the write lock")
	require.Empty(t, collect(t, store), "reads go on")
	release()
	_, err = store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
	require.NoError(t, err)
}

func TestACallerLeavesALockedFileAtOnceAndForCertain(t *testing.T) {
	path := file(t)
	store := open(t, path, nil)
	defer holdLock(t, path)()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := store.Append(ctx, "s-1", eventstore.NoStream(), event(1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, "the lock was never had, so nothing was written")
	info, infoErr := store.Info(t.Context())
	require.NoError(t, infoErr)
	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err = store.SaveCheckpoint(ctx, eventstore.Checkpoint{Name: "c", Store: info.ID})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 3*time.Second, "the lock's own time-out is 5 s")
}

func TestAppendsWaitForAnotherProcessAndThenGoOn(t *testing.T) {
	path := file(t)
	store := open(t, path, nil)
	release := holdLock(t, path)
	const writers = 8
	results := make(chan error, writers)
	for n := range writers {
		go func() {
			_, err := store.Append(t.Context(), "s-1", eventstore.Any(), event(n))
			results <- err
		}()
	}
	select {
	case err := <-results:
		t.Fatalf("an append ended while the lock was held: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	release()
	for range writers {
		require.NoError(t, <-results)
	}
	require.Len(t, collect(t, store), writers)
}

func TestEventsCannotBeChanged(t *testing.T) {
	path := file(t)
	store := open(t, path, nil)
	_, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1), event(2))
	require.NoError(t, err)
	before := collect(t, store)
	db := raw(t, path)
	for _, statement := range []string{
		"UPDATE events SET data = x'00'",
		"UPDATE events SET version = 7 WHERE version = 2",
		"DELETE FROM events",
		"DELETE FROM events WHERE version = 2",
		"INSERT INTO events (stream, version, id, type, content_type, data, recorded_at) SELECT stream, version, id, '', '', x'00', 0 FROM events WHERE true ON CONFLICT DO UPDATE SET data = excluded.data",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.ErrorContains(t, err, "append-only", statement)
	}
	require.Equal(t, before, collect(t, store))
}

func TestPositionsAreNotUsedAgain(t *testing.T) {
	path := file(t)
	store := open(t, path, nil)
	first, err := store.Append(t.Context(), "s-1", eventstore.NoStream(), event(1))
	require.NoError(t, err)
	// Someone who may drop triggers may delete; what comes then is still new.
	execute(t, raw(t, path), "DROP TRIGGER events_are_not_deleted", "DELETE FROM events")
	second, err := store.Append(t.Context(), "s-1", eventstore.Any(), event(2))
	require.NoError(t, err)
	require.True(t, first.Position.Before(second.Position))
}
