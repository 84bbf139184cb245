package sqlite_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// schema1 is the one before seals, leases and places, with two events, and
// checkpoints at one of them, at the beginning and where no event is.
var schema1 = []string{
	`CREATE TABLE store (id BLOB NOT NULL CHECK (length(id) = 16), created_at INTEGER NOT NULL) STRICT`,
	`CREATE TABLE events (
		position INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, version INTEGER NOT NULL CHECK (version > 0),
		id BLOB NOT NULL CHECK (length(id) = 16), type TEXT NOT NULL, content_type TEXT NOT NULL, data BLOB NOT NULL, metadata TEXT, recorded_at INTEGER NOT NULL,
		category TEXT NOT NULL GENERATED ALWAYS AS (substr(stream, 1, instr(stream || '-', '-') - 1)) VIRTUAL,
		UNIQUE (stream, version), UNIQUE (id, stream)) STRICT`,
	`CREATE INDEX events_by_category ON events (category, position)`,
	`CREATE TABLE checkpoints (name TEXT NOT NULL PRIMARY KEY, store BLOB NOT NULL, position INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
	`CREATE TABLE snapshots (stream TEXT NOT NULL, type TEXT NOT NULL, version INTEGER NOT NULL, schema_version INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (stream, type)) STRICT`,
	`PRAGMA application_id = 0x53575944`,
	`PRAGMA user_version = 1`,
	`PRAGMA journal_mode = WAL`,
	`INSERT INTO store VALUES (x'00112233445566778899aabbccddeeff', 0)`,
	`INSERT INTO events (stream, version, id, type, content_type, data, recorded_at) VALUES
		('s-1', 1, x'01010101010101010101010101010101', 'T', 'application/json', x'31', 0),
		('s-1', 2, x'02020202020202020202020202020202', 'T', 'application/json', x'32', 0)`,
	`INSERT INTO checkpoints VALUES
		('at an event', x'00112233445566778899aabbccddeeff', 2),
		('at the beginning', x'00112233445566778899aabbccddeeff', 0),
		('of another store', x'ff112233445566778899aabbccddeeff', 77)`,
	`INSERT INTO snapshots VALUES ('s-1', 'Sum', 2, 1, x'33')`,
}

func older(t *testing.T) (path string) {
	t.Helper()
	path = file(t)
	db := raw(t, path)
	db.SetMaxOpenConns(1)
	execute(t, db, schema1...)
	require.NoError(t, db.Close())
	return path
}

func TestAFileWithTheOlderSchemaIsBroughtToThisOne(t *testing.T) {
	path := older(t)
	store := open(t, path, nil)
	all := collect(t, store)
	require.Len(t, all, 2)
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, eventstore.Info{ID: uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff"), Head: all[1].Place()}, info)

	checkpoint, ok, err := store.LoadCheckpoint(t.Context(), "at an event")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, eventstore.Checkpoint{Name: "at an event", Store: info.ID, Place: all[1].Place()}, checkpoint)
	checkpoint, ok, err = store.LoadCheckpoint(t.Context(), "at the beginning")
	require.NoError(t, err)
	require.True(t, ok)
	require.Zero(t, checkpoint.Place)
	_, _, err = store.LoadCheckpoint(t.Context(), "of another store")
	require.ErrorIs(t, err, eventstore.ErrForeignCheckpoint)
	snapshot, ok, err := store.LoadSnapshot(t.Context(), "s-1", "Sum")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []byte("3"), snapshot.Data)

	_, err = store.Append(t.Context(), "s-1", eventstore.Exactly(2), event(3))
	require.NoError(t, err)
	_, err = store.Seal(t.Context(), "moved")
	require.NoError(t, err)
	require.NoError(t, store.Close())
	again, err := open(t, path, nil).Info(t.Context())
	require.NoError(t, err)
	require.True(t, again.Sealed, "it is done once")
}

func TestManyMayBringAFileToThisSchemaAtOnce(t *testing.T) {
	path := older(t)
	const racers = 8
	results := make(chan error, racers)
	for range racers {
		go func() {
			backend, err := sqlite.Open(t.Context(), path, nil)
			if err == nil {
				err = backend.Close()
			}
			results <- err
		}()
	}
	for range racers {
		require.NoError(t, <-results)
	}
	require.Len(t, collect(t, open(t, path, nil)), 2)
}

func TestAFileWithTheOlderSchemaThatMayOnlyBeReadIsRefused(t *testing.T) {
	path := older(t)
	forbidWriting(t, path)
	_, err := sqlite.Open(t.Context(), path, &sqlite.Options{NoCreate: true})
	require.ErrorContains(t, err, "has schema 1")
	require.ErrorContains(t, err, "open it once with the right to write")
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
}
