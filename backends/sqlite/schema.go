package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	sqlite3 "modernc.org/sqlite/lib"
)

// applicationID marks a file as ours in its header, where file(1) and other
// tools look: "SWYD".
const applicationID = 0x53575944

// schemaVersion is the schema that this code reads and writes, kept as
// user_version. A change of the schema adds 1 and a step to initialise.
const schemaVersion = 2

// AUTOINCREMENT never gives a position twice, even if someone drops the triggers
// and deletes the last events. The ID comes first in its index: version 7 UUIDs
// grow, so the index grows at its end.
const schema = checkpointsTable + `
CREATE TABLE store (
	id         BLOB    NOT NULL CHECK (length(id) = 16),
	created_at INTEGER NOT NULL, -- microseconds since 1970 UTC
	seal       TEXT              -- why the store takes no more appends; NULL while it does
) STRICT;

CREATE TABLE events (
	position     INTEGER PRIMARY KEY AUTOINCREMENT,
	stream       TEXT    NOT NULL,
	version      INTEGER NOT NULL CHECK (version > 0),
	id           BLOB    NOT NULL CHECK (length(id) = 16),
	type         TEXT    NOT NULL,
	content_type TEXT    NOT NULL,
	data         BLOB    NOT NULL,
	metadata     TEXT,             -- a JSON object of strings, or NULL
	recorded_at  INTEGER NOT NULL, -- microseconds since 1970 UTC
	category     TEXT    NOT NULL GENERATED ALWAYS AS (substr(stream, 1, instr(stream || '-', '-') - 1)) VIRTUAL,
	UNIQUE (stream, version),
	UNIQUE (id, stream)
) STRICT;

CREATE INDEX events_by_category ON events (category, position);

CREATE TRIGGER events_are_not_updated BEFORE UPDATE ON events
BEGIN SELECT raise(ABORT, 'events are append-only: they are not updated'); END;

CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
BEGIN SELECT raise(ABORT, 'events are append-only: they are not deleted'); END;

CREATE TABLE snapshots (
	stream         TEXT    NOT NULL,
	type           TEXT    NOT NULL,
	version        INTEGER NOT NULL,
	schema_version INTEGER NOT NULL,
	data           BLOB    NOT NULL,
	PRIMARY KEY (stream, type)
) STRICT;
`

// A row is what is kept under a subscription's name: its checkpoint, where store is
// not NULL, and its lease. A position may be another store's: it is kept as printed.
const checkpointsTable = `
CREATE TABLE checkpoints (
	name     TEXT    NOT NULL PRIMARY KEY,
	store    BLOB,
	position TEXT,
	stream   TEXT,
	version  INTEGER,
	event    BLOB,
	epoch    INTEGER NOT NULL,
	owner    TEXT    NOT NULL, -- empty while nobody has the lease
	renewals INTEGER NOT NULL,
	ttl      INTEGER NOT NULL  -- nanoseconds
) STRICT, WITHOUT ROWID;
`

// fromSchema1 makes schema 2 of schema 1, which had no seal, and of a checkpoint its
// position alone.
const fromSchema1 = `
ALTER TABLE store ADD COLUMN seal TEXT;
ALTER TABLE checkpoints RENAME TO checkpoints_1;
` + checkpointsTable + `
INSERT INTO checkpoints (name, store, position, stream, version, event, epoch, owner, renewals, ttl)
	SELECT c.name, c.store, c.position, coalesce(e.stream, ''), coalesce(e.version, 0), coalesce(e.id, zeroblob(16)), 0, '', 0, 0
	FROM checkpoints_1 c LEFT JOIN events e ON e.position = c.position;
DROP TABLE checkpoints_1;
`

// initialise makes sure that the file holds our schema, and returns the store's
// identity. Any number of processes may do it at once: an error of a busy file
// asks for another call.
func initialise(ctx context.Context, c *conn) (uuid.UUID, error) {
	found, err := inspect(c)
	if err != nil || found.schema == schemaVersion {
		return found.id, err
	}
	err = c.transaction(ctx, 0, func() error {
		// Someone else may have been faster.
		if found, err = inspect(c); err != nil {
			return err
		}
		if found.schema == 0 {
			found = contents{id: uuid.New(), schema: schemaVersion}
			return create(c, found.id)
		}
		if found.schema == 1 {
			err = c.script(fromSchema1 + fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
		}
		return err
	})
	return found.id, err
}

func create(c *conn, id uuid.UUID) error {
	if err := c.script(schema); err != nil {
		return err
	}
	if err := c.script(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, schemaVersion)); err != nil {
		return err
	}
	_, err := c.exec("INSERT INTO store (id, created_at) VALUES (?, ?)", id[:], time.Now().UnixMicro())
	return err
}

// selectMarks reads all that tells what a file is in one statement: in several,
// another process could make the store in between.
const selectMarks = `SELECT
	(SELECT application_id FROM pragma_application_id),
	(SELECT user_version FROM pragma_user_version),
	(SELECT count(*) FROM sqlite_schema)`

// contents is what a file holds.
type contents struct {
	id     uuid.UUID // the store's identity; uuid.Nil where the database is empty
	schema int64     // 0 where the database is empty
}

// inspect tells what the file holds, and refuses what is not ours.
func inspect(c *conn) (contents, error) {
	path := c.files.path
	row, ok, err := c.row(selectMarks, 3)
	if primaryCode(err) == sqlite3.SQLITE_NOTADB {
		return contents{}, fmt.Errorf("%q is no SQLite database; choose another file: %w", path, err)
	}
	if err != nil {
		return contents{}, err
	}
	if !ok {
		return contents{}, fmt.Errorf("%q does not tell what it holds", path)
	}
	application, _ := row[0].(int64)
	version, _ := row[1].(int64)
	objects, _ := row[2].(int64)
	switch {
	case application == 0 && version == 0 && objects == 0:
		return contents{}, nil
	case application != applicationID:
		return contents{}, fmt.Errorf("%q is a database of another application (application_id %#x); choose another file", path, application)
	case version > schemaVersion:
		return contents{}, fmt.Errorf("%q has schema %d, and this program knows up to %d; use a newer program", path, version, schemaVersion)
	case version < 1:
		return contents{}, fmt.Errorf("%q has schema %d, which no release has written; restore it from a backup", path, version)
	}
	row, ok, err = c.row("SELECT id FROM store", 1)
	if err != nil {
		return contents{}, err
	}
	if !ok {
		return contents{}, fmt.Errorf("%q has no identity: its table store is empty; restore it from a backup", path)
	}
	data, _ := row[0].([]byte)
	id, err := uuid.FromBytes(data)
	return contents{id: id, schema: version}, err
}
